import { type AppError, toAppError } from '@sluice/errors'
import type { Claim } from '@sluice/ledger'
import { deadLetter, type Delivery, type Release, release, retry, type Settlement } from '@sluice/messaging'
import { sleep } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import { type HandlerDeps, published, runnableOf } from './handler-deps.ts'
import { purgedResult } from './purged-lanes.ts'
import { type LaneContext, readArrival } from './read-arrival.ts'
import { rejectDelivery } from './reject-delivery.ts'
import { runRequest } from './run-request.ts'

/** Waits for capacity that are slept through, all in all, with the session in hand. */
const shortWaitMs = 300
/** How often a session looks whether the owner of its head has ended it. */
const ownedMs = 1_000

/**
 * One message of a lane with sessions. Its order rests on one rule: a message is settled when its request is over, never
 * before. So nothing is parked here, and a head that somebody else owns is not done with: that owner may have died with
 * its worker, and then a sweeper frees the row and this session's next holder runs it. Until then the session waits, and
 * what comes after the head waits with it.
 */
export const handleConversation =
  (deps: HandlerDeps, context: LaneContext) =>
  async (delivery: Delivery, signal: AbortSignal): Promise<Settlement | Release> => {
    const { ledger } = deps
    let claim: Claim
    try {
      const claimed = await ledger.claim(readArrival(delivery, context))
      if (claimed.kind === 'finished') return await published(deps, claimed.row)
      if (claimed.kind !== 'claimed') return release(ownedMs)
      claim = claimed.claim
    } catch (thrown) {
      const error = toAppError(thrown)
      if (error.disposition !== 'reject') throw error
      deps.logger.warn({ code: error.code, param: error.param, lane: context.name }, 'a message was rejected')
      return rejectDelivery(deps, delivery, context, error)
    }

    const logger = deps.logger.child({ requestId: claim.row.id, tenant: claim.row.tenant })
    try {
      if (deps.purged.includes(claim.row)) {
        deps.purged.ended(claim.row)
        return await published(deps, await ledger.finish(claim, purgedResult))
      }
      if (deps.parking.view.lane(context.name).paused) return await giveBack(deps, claim, ownedMs)
      // A lost session lock ends the work too: somebody else begins with this very message.
      const stop = AbortSignal.any([signal, claim.signal])
      const runnable = runnableOf(ledger, claim, context.lane.priority)
      let outcome = await runRequest(deps, runnable, stop)
      let sleptMs = 0
      while (outcome.kind === 'later' && sleptMs + outcome.afterMs <= shortWaitMs) {
        sleptMs += outcome.afterMs
        await sleep(outcome.afterMs, { signal: stop, clock: deps.clock })
        outcome = await runRequest(deps, runnable, stop)
      }
      if (outcome.kind === 'later') return await giveBack(deps, claim, outcome.afterMs)
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

/** The row is free again before the session is: whoever accepts it next finds it so. */
async function giveBack({ ledger }: HandlerDeps, claim: Claim, afterMs: number): Promise<Release> {
  await ledger.giveBack(claim)
  return release(afterMs)
}

/**
 * A head that was lost to a successor, or could not be given back, is somebody else's for a while; any other failure is
 * given back and counts as a delivery, so that the broker gives up on what can never be done.
 */
async function afterFailure(
  deps: HandlerDeps,
  claim: Claim,
  error: AppError,
  logger: Logger,
): Promise<Settlement | Release> {
  if (error.code === 'lease_lost') return release(ownedMs)
  logger.warn({ err: error }, 'the request is given back')
  try {
    await deps.ledger.giveBack(claim)
  } catch (thrown) {
    logger.warn({ err: thrown }, 'the request could not be given back')
    return release(ownedMs)
  }
  if (error.code === 'shutting_down' || error.code === 'lock_lost') return release(0)
  return retry(error.retryAfterMs ?? 0)
}
