import * as fc from 'fast-check'
import { isTerminal } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Claim, ClaimResult, Ledger, Row } from '@sluice/ledger'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { arrival, beatMs, leaseMs, LedgerFixture } from './ledger-fixture.ts'
import { type StandIns, startStorage } from './storage-stand-ins.ts'

const actions = [
  ...(['deliver', 'deliver', 'deliverLeaving', 'take', 'finish', 'finish', 'park', 'giveBack', 'crash'] as const),
  ...(['shelve', 'lateShelve'] as const),
  ...(['cancel', 'expire', 'sweep', 'lateSweep', 'lateSweep', 'wait'] as const),
]
type Action = (typeof actions)[number]

interface Worker {
  ledger: Ledger
  claims: Claim[]
  sweeper: ReturnType<LedgerFixture['sweeper']>
}

/** Several workers and sweepers around one request; whatever they do at the same time, the row must stay sane. */
class World {
  readonly fixture: LedgerFixture
  readonly input = arrival({ key: crypto.randomUUID() })
  readonly workers: Worker[]
  /** Fences of successful claims, in the order of their rows. */
  readonly fences: number[] = []
  /** Rows as they were when a call said that it ended the request. */
  readonly endings: Row[] = []
  readonly seen: Row[] = []
  /** What ended a claim. */
  readonly over = new Map<Claim, Action>()
  /** The results that a claim tried to store. */
  readonly results = new Map<Claim, Set<number>>()

  constructor(fixture: LedgerFixture, size: number) {
    this.fixture = fixture
    this.workers = Array.from({ length: size }, () => this.worker())
  }

  worker(resend?: (row: Row) => Promise<void>): Worker {
    const ledger = this.fixture.worker()
    return { ledger, claims: [], sweeper: this.fixture.sweeper(ledger, resend === undefined ? {} : { resend }) }
  }

  async act(name: number, action: Action, id: number): Promise<void> {
    const { ledger, claims, sweeper } = this.workers[name] ?? this.worker()
    const expectExisting = id % 2 === 0
    switch (action) {
      case 'deliver':
      case 'deliverLeaving': {
        const leaveWaiting = action === 'deliverLeaving'
        this.claimed(claims, await ledger.claim(this.fixture.claimInput(this.input, { expectExisting, leaveWaiting })))
        return
      }
      case 'take': {
        // From the parking index, which may be wrong about the row and name it to several at once.
        const result = await ledger.take({ tenant: 'contoso', id: this.id })
        if (result !== undefined) this.claimed(claims, result)
        return
      }
      case 'shelve':
      case 'lateShelve': {
        const row = action === 'shelve' ? await ledger.get('contoso', this.id) : this.seen[id % this.seen.length]
        if (row?.status === 'accepted') await ledger.shelve(row, { notBeforeMs: this.fixture.clock.now() + 1 })
        return
      }
      case 'finish':
        return this.end(action, claims, id, async (claim) => {
          const mine = this.results.get(claim) ?? new Set()
          this.results.set(claim, mine.add(id))
          const usage = { input_tokens: id, cached_tokens: 0, output_tokens: 0, reasoning_tokens: 0 }
          const row = await ledger.finish(claim, { status: 'succeeded', usage })
          // What the call stored, or what this very claim stored before; never a successor's or a predecessor's.
          expect(row.fence).toBe(claim.fence)
          expect(mine).toContain(row.result?.sluice.usage.input_tokens)
          this.endings.push(row)
        })
      case 'park':
        return this.end(action, claims, id, (claim) =>
          ledger.park(claim, { notBeforeMs: this.fixture.clock.now() + 1 }),
        )
      case 'giveBack':
        return this.end(action, claims, id, (claim) => ledger.giveBack(claim))
      case 'crash':
        claims.shift()?.release()
        return
      case 'expire': {
        const row = await this.fixture.row(ledger, { tenant: 'contoso', id: this.id })
        if (row.status !== 'accepted' && row.status !== 'waiting') return
        const ended = await ledger.sweeping.end(row, 'expired')
        if (ended !== undefined) this.endings.push(ended)
        return
      }
      case 'lateSweep': {
        // A sweeper that acts on what it saw long ago, whatever happened since.
        const old = this.seen[id % this.seen.length]
        if (old?.status === 'running') await ledger.sweeping.takeOver(old)
        if (old?.status === 'cancel_requested') await ledger.sweeping.end(old, 'cancelled')
        return
      }
      case 'cancel': {
        const row = await ledger.cancel('contoso', this.id).catch(ignore('not_found', 'storage_unavailable'))
        if (row?.status === 'cancelled') this.endings.push(row)
        return
      }
      case 'sweep':
        await sweeper.sweepOnce()
        return
      case 'wait':
        await this.fixture.clock.advance(id % 3 === 0 ? leaseMs : beatMs)
        return
    }
  }

  claimed(claims: Claim[], result: ClaimResult): void {
    if (result.kind !== 'claimed') return
    claims.push(result.claim)
    this.fences.push(result.claim.fence)
  }

  get id(): string {
    return this.seen.at(-1)?.id ?? 'req_none'
  }

  /**
   * Ends the oldest claim of a worker. One that a successor owns may only fail as lost. Every second is kept although it
   * is over, as a confused owner would: then it may repeat what ended it, which changes nothing, and nothing else.
   */
  async end(action: Action, claims: Claim[], id: number, ending: (claim: Claim) => Promise<unknown>): Promise<void> {
    const [claim] = claims
    if (claim === undefined) return
    if (id % 2 !== 0) claims.shift()
    const before = this.over.get(claim)
    try {
      await ending(claim)
      expect([undefined, action]).toContain(before)
      this.over.set(claim, action)
    } catch (error) {
      ignore('lease_lost', 'cancelled')(error)
    } finally {
      claim.release()
    }
  }

  async look(): Promise<void> {
    const { ledger } = this.worker()
    const { rows } = await ledger.list('contoso', { limit: 2 })
    expect(rows.length).toBeLessThanOrEqual(1)
    if (rows[0] === undefined) return
    const row = await this.fixture.row(ledger, rows[0])
    const before = this.seen.at(-1)
    this.seen.push(row)
    if (before === undefined) return
    expect(row.fence).toBeGreaterThanOrEqual(before.fence)
    if (isTerminal(before.status)) {
      expect([row.status, row.result, row.fence]).toEqual([before.status, before.result, before.fence])
    }
  }

  /** Everybody crashes, and one sweeper is left with a worker that finishes what is sent to it. */
  async conclude(): Promise<Row> {
    for (const { claims } of this.workers) for (const claim of claims.splice(0)) claim.release()
    const { ledger, sweeper } = this.worker(async (row) => {
      const result = await ledger.claim(this.fixture.claimInput(this.input, { expectExisting: true }))
      if (result.kind !== 'claimed') throw new Error(`${row.id} was sent and is ${result.kind}`)
      this.endings.push(await ledger.finish(result.claim, { status: 'succeeded' }))
    })
    for (let round = 0; round < 5; round++) {
      await sweeper.sweepOnce()
      await this.fixture.clock.advance(64 * leaseMs)
    }
    await this.look()
    return this.seen.at(-1) as Row
  }
}

const ignore =
  (...codes: string[]) =>
  (error: unknown): undefined => {
    if (error instanceof AppError && codes.includes(error.code)) return undefined
    throw error
  }

describe('any interleaving of workers, crashes, cancellations and sweepers', () => {
  let stores: StandIns
  beforeAll(async () => {
    stores = await startStorage()
  })
  afterAll(() => stores.stop())

  it('leaves one result, fences that only rise, and nothing stored over a successor', async () => {
    const step = fc.record({ worker: fc.nat(2), action: fc.constantFrom(...actions) })
    const together = fc.array(fc.array(step, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(together, async (rounds) => {
        const fixture = await LedgerFixture.over(stores)
        const world = new World(fixture, 3)
        let id = 0
        await world.act(0, 'deliver', 1)
        await world.look()
        for (const round of rounds) {
          await Promise.all(round.map(({ worker, action }) => world.act(worker, action, ++id)))
          await world.look()
        }
        const row = await world.conclude()
        expect(isTerminal(row.status)).toBe(true)
        expect(row.result?.sluice.status).toBe(row.status)
        expect(new Set(world.fences).size).toBe(world.fences.length)
        // Every call that said it ended the request meant the same ending.
        for (const ending of world.endings) expect(ending.result).toEqual(row.result)
        await fixture.close()
      }),
      { numRuns: 60 },
    )
  }, 120_000)
})
