import { randomUUID } from 'node:crypto'
import type { Clock } from '@sluice/resilience'
import type { Blobs, Cosmos } from '@sluice/storage'
import type { Logger, Metrics } from '@sluice/telemetry'
import { accept } from './arrive.ts'
import { cancel } from './cancel.ts'
import { type Claimed, claimRow, takeRow } from './claiming.ts'
import { loadBody } from './content.ts'
import type { Context } from './context.ts'
import { Flips } from './flips.ts'
import { HeldClaim } from './held-claim.ts'
import { insist } from './insist.ts'
import type { Claim, ClaimResult, Ledger } from './ledger-types.ts'
import { list } from './list.ts'
import { reject } from './reject.ts'
import type { Row } from './row.ts'
import { packing } from './packing.ts'
import { finish, giveBack, pack, park } from './settling.ts'
import { shelve, waiting } from './shelving.ts'
import { sweepTransitions } from './sweep-transitions.ts'

export interface LedgerOptions {
  cosmos: Cosmos
  blobs: Blobs
  clock: Clock
  /** Names this process in rows, for people who read them. */
  owner: string
  logger: Logger
  metrics: Metrics
  beatMs?: number
  /** The sweepers' lease, which must outlast two beats. */
  leaseMs?: number
  /** How long finish, park and giveBack go on trying while storage is away. */
  insistMs?: number
}

/** A claim is no answer that was paid for: while storage is away its message can come again. */
const claimInsistMs = 3_000

/** Opens the ledger; see {@link Ledger}. */
export function createLedger(options: LedgerOptions): Ledger {
  const { cosmos, blobs, clock, logger, metrics, beatMs = 5_000, leaseMs = 15_000, insistMs = 30_000 } = options
  if (leaseMs < 2 * beatMs) {
    throw new RangeError(`a lease of ${leaseMs} ms is lost with one late beat of ${beatMs} ms: make it two at least`)
  }
  const context: Context = {
    rows: cosmos.rows<Row>('requests'),
    blobs,
    clock,
    logger,
    owner: `${options.owner}.${randomUUID().slice(0, 8)}`,
    beatMs,
    insistMs,
    doubleCalls: metrics.counter({
      name: 'sluice_ledger_double_calls_total',
      help: 'Calls of a model whose result was dropped, because the lease was lost meanwhile.',
    }),
    leasesLost: metrics.counter({
      name: 'sluice_ledger_leases_lost_total',
      help: 'Claims that ended because a successor owned the row.',
    }),
    swept: metrics.counter({
      name: 'sluice_ledger_swept_total',
      help: 'Rows that a sweeper had to move, by the status in which they stood still.',
      labels: ['status'],
    }),
  }
  const held = new Set<HeldClaim>()
  const flips = new Flips(context)
  let claims = 0

  // Tried again under the same name, so that a claim whose answer got lost is found and not waited for.
  const become = async <T extends Claimed | undefined>(write: (claimId: string) => Promise<T>): Promise<T> => {
    const claimId = `${context.owner}/${++claims}`
    return insist(clock, claimInsistMs, () => write(claimId))
  }
  const holding = ({ kind, row }: Claimed): ClaimResult => {
    if (kind !== 'claimed') return { kind, row }
    const claim = new HeldClaim(context, row, () => held.delete(claim))
    held.add(claim)
    return { kind, claim }
  }

  return {
    accept: (input) => accept(context, input),
    claim: async (input) => holding(await become((claimId) => claimRow(context, input, claimId))),
    take: async (row) => {
      const taken = await become((claimId) => takeRow(context, row, claimId))
      return taken && holding(taken)
    },
    body: (row, signal) => loadBody(context.blobs, row, signal),
    shelve: (row, input) => shelve(context, row, input),
    waiting: (input) => waiting(context, input),
    callStarted: (claim) => own(claim).callStarted(),
    park: (claim, input) => park(context, own(claim), input),
    pack: (claim) => pack(context, own(claim)),
    giveBack: (claim) => giveBack(context, own(claim)),
    finish: (claim, outcome) => finish(context, own(claim), outcome),
    reject: (input) => reject(context, input),
    markPublished: (row) => flips.add(row),
    get: (tenant, id) => context.rows.read(id, [tenant, id]),
    list: (tenant, input) => list(context, tenant, input),
    cancel: (tenant, id) => cancel(context, tenant, id),
    sweeping: sweepTransitions(context),
    packing: packing(context),
    close: async () => {
      for (const claim of held) claim.release()
      await flips.close()
    },
  }
}

function own(claim: Claim): HeldClaim {
  if (claim instanceof HeldClaim) return claim
  throw new TypeError('not a claim of this ledger')
}
