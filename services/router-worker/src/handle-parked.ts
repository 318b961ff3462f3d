import type { Priority } from '@sluice/contracts'
import { AppError, toAppError } from '@sluice/errors'
import { type Claim, isUnowned, type Row } from '@sluice/ledger'
import { isOfKey, type ParkedRow } from '@sluice/parking'
import type { Logger } from '@sluice/telemetry'
import { type HandlerDeps, published } from './handler-deps.ts'
import { type RunOutcome, runRequest } from './run-request.ts'
import { parkClaim, waitOf } from './wait-for-room.ts'

/** Whom a lack of room keeps back. A key at its limit keeps back its own requests, and not its tenant's other keys. */
const heldBack = ({ class: name }: ParkedRow) =>
  ({ full: 'class', failing: 'row', tenant: isOfKey(name) ? 'class' : 'tenant' }) as const

/** What failed on the way, such as storage that is away, is tried again after this long. */
const failedForMs = 2_000

/**
 * One row of the index whose turn has come. It is claimed when there is room and not before, so a try without room costs
 * one read and no write. The index may be wrong about a row, the row never is: one that is over, or that somebody runs,
 * is dropped from the index and left alone.
 */
export const handleParked =
  (deps: HandlerDeps, priorityOf: (lane: string) => Priority | undefined) =>
  async (parked: ParkedRow, because: 'turn' | 'expired' | 'purged', signal: AbortSignal): Promise<void> => {
    const { ledger, parking } = deps
    const logger = deps.logger.child({ requestId: parked.id, tenant: parked.tenant })
    let claim: Claim | undefined
    try {
      const row = await ledger.get(parked.tenant, parked.id)
      if (row === undefined || !isUnowned(row.status)) return await parking.drop(parked)
      if (because === 'expired') return await endUnrun(deps, parked, row, 'expired')
      if (because === 'purged' || deps.purged.includes(row)) return await endUnrun(deps, parked, row, 'cancelled')

      const stop = new AbortController()
      const own = async (): Promise<Claim> => {
        claim ??= await take(deps, parked, row, stop)
        return claim
      }
      const runnable = {
        row,
        crashes: row.attempts,
        tries: () => claim?.fence ?? Math.max(1, row.fence),
        priority: priorityOf(parked.lane),
        body: () => ledger.body(row, signal),
        beforeCall: async () => ledger.callStarted(await own()),
      }
      const outcome = await runRequest(deps, runnable, AbortSignal.any([signal, stop.signal]))
      if (outcome.kind === 'later') return await notNow(deps, parked, claim, outcome)
      const finished = await ledger.finish(await own(), outcome.finish)
      logger.info(outcome.log, `request ${finished.status}`)
      await published(deps, finished)
    } catch (thrown) {
      await afterFailure(deps, parked, claim, toAppError(thrown), logger)
    } finally {
      claim?.release()
    }
  }

/** Becomes the owner; from then on the row is in nobody's index. */
async function take(deps: HandlerDeps, parked: ParkedRow, row: Row, stop: AbortController): Promise<Claim> {
  const taken = await deps.ledger.take(row)
  if (taken?.kind !== 'claimed') throw new AppError('lease_lost', 'Somebody else owns the request.')
  const { claim } = taken
  const abort = () => stop.abort(claim.signal.reason)
  if (claim.signal.aborted) abort()
  claim.signal.addEventListener('abort', abort, { once: true })
  // Not waited for: a lease that nobody ends brings the entry back, and the row says that it is over.
  void deps.parking.taken(parked).then(
    () => deps.wakeDispatcher(0),
    (err: unknown) => deps.logger.warn({ err, requestId: row.id }, 'the index was not told of a start'),
  )
  return claim
}

async function endUnrun(
  deps: HandlerDeps,
  parked: ParkedRow,
  row: Row,
  status: 'expired' | 'cancelled',
): Promise<void> {
  const ended = await deps.ledger.sweeping.end(row, status)
  if (status === 'cancelled') deps.purged.ended(row)
  // The row has moved on: it is somebody else's now, or over.
  if (ended !== undefined) await published(deps, ended)
  await deps.parking.drop(parked)
}

async function notNow(
  deps: HandlerDeps,
  parked: ParkedRow,
  claim: Claim | undefined,
  { afterMs, reason }: Extract<RunOutcome, { kind: 'later' }>,
): Promise<void> {
  if (claim !== undefined) {
    // A deployment was asked and failed: the request owns its row, and waits anew.
    await parkClaim(deps, claim, parked, waitOf({ afterMs, reason }, claim.row))
  } else {
    await deps.parking.later(parked, afterMs, heldBack(parked)[reason])
  }
  deps.wakeDispatcher(afterMs)
}

async function afterFailure(
  deps: HandlerDeps,
  parked: ParkedRow,
  claim: Claim | undefined,
  error: AppError,
  logger: Logger,
): Promise<void> {
  try {
    if (error.disposition === 'yield') {
      logger.warn({ code: error.code }, 'somebody else owns the request now')
      if (claim === undefined) await deps.parking.drop(parked)
      return
    }
    logger.warn({ err: error }, 'the request goes back to where it waited')
    // There is no message to come again: what is given up here has to be in the index.
    const pauseMs = error.code === 'shutting_down' ? 1 : (error.retryAfterMs ?? failedForMs)
    if (claim === undefined) await deps.parking.later(parked, pauseMs, 'row')
    else await parkClaim(deps, claim, parked, { aloneForMs: pauseMs })
  } catch (thrown) {
    // The lease of the entry, or of the claim, runs out; then somebody else comes to it.
    logger.warn({ err: thrown }, 'the request could not be put back')
  }
}
