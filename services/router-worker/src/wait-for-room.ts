import type { Outcome } from '@sluice/execution'
import type { Claim, Ledger, ParkedAs, ParkInput, Row } from '@sluice/ledger'
import { type ParkedRow, parkedRow, type Parking } from '@sluice/parking'
import type { Clock } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'

type LaterReason = Extract<Outcome, { kind: 'later' }>['reason']

export interface WaitDeps {
  ledger: Pick<Ledger, 'park' | 'shelve'>
  parking: Pick<Parking, 'stage' | 'park' | 'delay' | 'drop'>
  clock: Clock
  logger: Logger
}

export interface Wait {
  /** Admission's word that there is no room for its class before, ms from now. */
  roomInMs?: number | undefined
  /** The request itself is better left alone for this long: everybody whom it asked failed. */
  aloneForMs?: number | undefined
}

/**
 * How a run without room waits. A tenant at its own limit says nothing of the deployments; a key at its limit has a class
 * of its own.
 */
export const waitOf = (
  { afterMs, reason }: { afterMs: number; reason: LaterReason },
  row: Pick<Row, 'key_limits'>,
): Wait =>
  reason === 'failing'
    ? { aloneForMs: afterMs }
    : reason === 'full' || row.key_limits !== undefined
      ? { roomInMs: afterMs }
      : {}

/**
 * After this long a sweeper puts a waiting row into the index again. The index survives a crash of Redis but for its last
 * second, which the rows bring back; this is for what slips through even that.
 */
const netMs = 30 * 60_000
const withoutIndexMs = 1_000

/** running → waiting: the claim ends and the row gets its place in the index. @throws AppError `lease_lost`, `cancelled` */
export const parkClaim = (deps: WaitDeps, claim: Claim, as: ParkedAs, wait: Wait = {}): Promise<Row | undefined> =>
  enterIndex(deps, claim.row, as, wait, (input) => deps.ledger.park(claim, input))

/** accepted → waiting, for a row whose message nobody has received. @returns undefined when the row has moved on */
export const parkAccepted = (deps: WaitDeps, row: Row, as: ParkedAs): Promise<Row | undefined> =>
  enterIndex(deps, row, as, {}, (input) => deps.ledger.shelve(row, input))

/**
 * Index, row, index. Killed after the first, a row that never became `waiting` is in the index: it is tried, found
 * unfit and dropped. Killed after the second, the index tries it a few seconds late. The other way round a row could wait
 * for ever, with nobody knowing. While Redis is away the row waits for a sweeper.
 */
async function enterIndex(
  { parking, clock, logger }: WaitDeps,
  row: Row,
  as: ParkedAs,
  { roomInMs, aloneForMs }: Wait,
  write: (input: ParkInput) => Promise<Row | undefined>,
): Promise<Row | undefined> {
  const entry: ParkedRow = parkedRow({ ...row, parked: as })
  const staged = await parking.stage(entry).then(
    () => true,
    (err: unknown) => {
      logger.warn({ err, requestId: row.id, tenant: row.tenant }, 'parked without the index: a sweeper will see to it')
      return false
    },
  )
  const soonMs = aloneForMs ?? roomInMs ?? withoutIndexMs
  let waiting: Row | undefined
  try {
    waiting = await write({ ...as, notBeforeMs: clock.now() + (staged ? netMs : soonMs) })
  } finally {
    // Nothing waits: what was staged would only be tried for nothing.
    if (waiting === undefined && staged) void parking.drop(entry).catch(() => undefined)
  }
  if (waiting !== undefined && staged) {
    const entered = aloneForMs === undefined ? parking.park(entry, { roomInMs }) : parking.delay(entry, aloneForMs)
    await Promise.resolve(entered).catch((err: unknown) => {
      logger.warn({ err, requestId: row.id, tenant: row.tenant }, 'the index will try a parked request late')
    })
  }
  return waiting
}
