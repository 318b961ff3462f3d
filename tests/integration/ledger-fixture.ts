import { randomUUID } from 'node:crypto'
import type { RequestLine } from '@sluice/contracts'
import {
  type Arrival,
  type Claim,
  type ClaimInput,
  type ClaimResult,
  createLedger,
  createSweeper,
  type Ledger,
  type LedgerOptions,
  type Row,
  type SweeperOptions,
} from '@sluice/ledger'
import { ManualClock } from '@sluice/resilience'
import type { Blobs, Cosmos } from '@sluice/storage'
import { createLogger, createMetrics, type Metrics } from '@sluice/telemetry'
import { vi } from 'vitest'
import type { StandIns } from './storage-stand-ins.ts'

export const beatMs = 5_000
export const leaseMs = 15_000
const logger = createLogger({ service: 'test', level: 'silent' })

export const chat = (content = 'hi', over: Partial<RequestLine> = {}): RequestLine => ({
  custom_id: 'order-17',
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model: 'auto', messages: [{ role: 'user', content }] },
  ...over,
})

/** A request under a key of its own, as HTTP brings it. */
export const arrival = (over: Partial<Arrival> = {}): Arrival => ({
  tenant: 'contoso',
  key: randomUUID(),
  line: chat(),
  lane: 'requests-standard',
  via: 'http',
  ...over,
})

export function held(result: ClaimResult): Claim {
  if (result.kind !== 'claimed') throw new Error(`expected a claim, got ${result.kind}`)
  return result.claim
}

/** The ledger of one worker over shared stores, with a clock that the test moves. */
export class LedgerFixture {
  readonly clock = new ManualClock()
  readonly metrics: Metrics = createMetrics('test')
  readonly cosmos: Cosmos
  readonly blobs: Blobs
  readonly #ledgers: Ledger[] = []

  private constructor(cosmos: Cosmos, blobs: Blobs) {
    this.cosmos = cosmos
    this.blobs = blobs
  }

  /** Over a database of its own. */
  static async over(stores: StandIns): Promise<LedgerFixture> {
    return new LedgerFixture(await stores.database(), stores.blobs)
  }

  worker(over: Partial<LedgerOptions> = {}): Ledger {
    const { clock, metrics, cosmos, blobs } = this
    const ledger = createLedger({ cosmos, blobs, clock, logger, metrics, owner: 'worker', beatMs, leaseMs, ...over })
    this.#ledgers.push(ledger)
    return ledger
  }

  sweeper(ledger: Pick<Ledger, 'sweeping'>, over: Partial<SweeperOptions> = {}) {
    const resent: Row[] = []
    const published: Row[] = []
    const sweeper = createSweeper({
      ledger,
      clock: this.clock,
      logger,
      intervalMs: 1_000,
      leaseMs,
      resend: async (row) => void resent.push(row),
      publish: async (row) => void published.push(row),
      ...over,
    })
    return { ...sweeper, resent, published }
  }

  claimInput(from: Arrival, over: Partial<ClaimInput> = {}): ClaimInput {
    return { ...from, via: 'service-bus', expectExisting: false, enqueuedAt: this.clock.now(), ...over }
  }

  async row(ledger: Ledger, { tenant, id }: Pick<Row, 'tenant' | 'id'>): Promise<Row> {
    const row = await ledger.get(tenant, id)
    if (row === undefined) throw new Error(`${id} is not stored`)
    return row
  }

  /** Moves the clock by one beat and waits until the beat is stored. */
  async beat(ledger: Ledger, claim: Claim): Promise<Row> {
    const before = await this.row(ledger, claim.row)
    await this.clock.advance(beatMs)
    return vi.waitFor(
      async () => {
        const row = await this.row(ledger, claim.row)
        if (row.beat === before.beat) throw new Error('no beat yet')
        return row
      },
      { timeout: 5_000, interval: 5 },
    )
  }

  async counted(name: string): Promise<number> {
    const { text } = await this.metrics.render()
    const samples = text.split('\n').filter((line) => line.startsWith(`${name}{`))
    return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
  }

  async close(): Promise<void> {
    await Promise.all(this.#ledgers.map((ledger) => ledger.close()))
    if (this.clock.pending > 0) throw new Error(`${this.clock.pending} timers were left behind`)
  }
}
