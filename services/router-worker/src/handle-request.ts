import { type AppError, toAppError } from '@sluice/errors'
import type { Claim } from '@sluice/ledger'
import { complete, deadLetter, type Delivery, retry, type Settlement } from '@sluice/messaging'
import { parkedRow } from '@sluice/parking'
import { sleep } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import { type HandlerDeps, published, runnableOf } from './handler-deps.ts'
import { shouldPack } from './pack-bulk.ts'
import { purgedResult } from './purged-lanes.ts'
import { type LaneContext, readArrival } from './read-arrival.ts'
import { rejectDelivery } from './reject-delivery.ts'
import { type RunOutcome, runRequest } from './run-request.ts'
import { parkClaim, type Wait, waitOf } from './wait-for-room.ts'

/** Waits for capacity that are together not worth two writes and a place in the index, while nobody else waits. */
const shortWaitMs = 300

/**
 * One message of a lane, from decoding to settlement. From the claim on the ledger owns the request: the message is
 * completed whatever comes of it, because a row that stands still is seen to by a sweeper.
 */
export const handleRequest =
  (deps: HandlerDeps, context: LaneContext) =>
  async (delivery: Delivery, signal: AbortSignal): Promise<Settlement> => {
    const { ledger, parking } = deps
    let claim: Claim
    try {
      // While the index is away, or does not know its rows, a message is as good a turn as any.
      const leaveWaiting = parking.view.known
      const claimed = await ledger.claim({ ...readArrival(delivery, context), leaveWaiting })
      if (claimed.kind === 'finished') return await published(deps, claimed.row)
      if (claimed.kind === 'owned') return complete()
      if (claimed.kind === 'waiting') return await parking.restore(parkedRow(claimed.row)).then(complete)
      claim = claimed.claim
    } catch (thrown) {
      const error = toAppError(thrown)
      if (error.disposition !== 'reject') throw error
      deps.logger.warn({ code: error.code, param: error.param, lane: context.name }, 'a message was rejected')
      return rejectDelivery(deps, delivery, context, error)
    }

    const logger = deps.logger.child({ requestId: claim.row.id, tenant: claim.row.tenant })
    try {
      const outcome = await runOrWait(deps, context, claim, stopSignal(signal, claim.signal))
      if (outcome === 'set aside') return complete()
      const row = await ledger.finish(claim, outcome.finish)
      logger.info(outcome.log, `request ${row.status}`)
      const settlement = await published(deps, row)
      return outcome.reject === undefined ? settlement : deadLetter(outcome.reject.code, outcome.reject.message)
    } catch (thrown) {
      return await afterFailure(deps, claim, toAppError(thrown), logger)
    } finally {
      claim.release()
    }
  }

/**
 * Runs the request, or sets it aside: for the index when there is no room, when others wait before it or when its lane is
 * paused, and for the Batch API when it has the time.
 */
async function runOrWait(
  deps: HandlerDeps,
  { name, lane, config }: LaneContext,
  claim: Claim,
  stop: AbortSignal,
): Promise<Extract<RunOutcome, { kind: 'finish' }> | 'set aside'> {
  const { parking, purged } = deps
  const { row } = claim
  if (purged.includes(row)) {
    purged.ended(row)
    return { kind: 'finish', finish: purgedResult, log: { code: 'cancelled' } }
  }
  const classify = async () => deps.classify(row, await claim.body())
  const park = async (wait: Wait) => {
    await parkClaim(deps, claim, await classify(), wait)
    deps.logger.info({ requestId: row.id, tenant: row.tenant, ...wait }, 'waiting for capacity')
    deps.wakeDispatcher(wait.roomInMs ?? wait.aloneForMs ?? 0)
    return 'set aside' as const
  }
  if (parking.view.lane(name).paused) return park({})
  const priority = row.line.sluice?.priority ?? lane.priority
  if (priority === 'bulk') {
    const body = await claim.body()
    const bulk = { ...row.line, sluice: { ...row.line.sluice, priority } }
    if (shouldPack(bulk, body, config, deps.clock.now())) {
      await deps.ledger.pack(claim)
      return 'set aside'
    }
  }
  // Whoever comes now goes behind those that wait for the same deployments, in its own lane and in those before it.
  if (parking.view.anyWaiting(name) && parking.view.anyAhead(name, (await classify()).class)) return park({})

  const runnable = runnableOf(deps.ledger, claim, lane.priority)
  let outcome = await runRequest(deps, runnable, stop)
  let sleptMs = 0
  while (outcome.kind === 'later' && sleptMs + outcome.afterMs <= shortWaitMs && !parking.view.anyWaiting(name)) {
    sleptMs += outcome.afterMs
    await sleep(outcome.afterMs, { signal: stop, clock: deps.clock })
    outcome = await runRequest(deps, runnable, stop)
  }
  if (outcome.kind === 'later') {
    return park(waitOf(outcome, row))
  }
  // What runs past those that wait counts as its tenant's part all the same.
  if (parking.view.anyRows) parking.charge(name, row.tenant, (await classify()).tokens)
  return outcome
}

async function afterFailure(deps: HandlerDeps, claim: Claim, error: AppError, logger: Logger): Promise<Settlement> {
  if (error.disposition === 'yield') {
    logger.warn({ code: error.code }, 'somebody else owns the request now')
    return complete()
  }
  logger.warn({ err: error }, 'the request is given back')
  try {
    await deps.ledger.giveBack(claim)
  } catch (thrown) {
    // The row still names us; it stands still from now on and a sweeper takes it over.
    logger.warn({ err: thrown }, 'the request could not be given back')
    return complete()
  }
  return retry(error.retryAfterMs ?? 0)
}

/**
 * Aborts the work on shutdown or deadline, and when the claim is lost or cancelled. A lost message lock alone does not:
 * the claim is what entitles to work, and its beat goes on.
 */
function stopSignal(handler: AbortSignal, claim: AbortSignal): AbortSignal {
  const stop = new AbortController()
  const onHandler = () => {
    const reason = toAppError(handler.reason)
    if (reason.code !== 'lock_lost') stop.abort(reason)
  }
  if (handler.aborted) onHandler()
  handler.addEventListener('abort', onHandler, { once: true })
  return AbortSignal.any([stop.signal, claim])
}
