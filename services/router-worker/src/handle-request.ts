import { type AppError, toAppError } from '@sluice/errors'
import type { Execution } from '@sluice/execution'
import type { Claim, Ledger, Outbox } from '@sluice/ledger'
import { complete, deadLetter, type Delivery, retry, type Settlement } from '@sluice/messaging'
import { type Clock, sleep } from '@sluice/resilience'
import type { Logger, Metrics } from '@sluice/telemetry'
import { type LaneContext, readArrival } from './read-arrival.ts'
import { rejectDelivery } from './reject-delivery.ts'
import { runClaim } from './run-claim.ts'
import type { SoloGate } from './solo-gate.ts'

export interface HandlerDeps {
  ledger: Ledger
  outbox: Outbox
  execution: Execution
  /** Puts a parked row's message on its lane again at that time (epoch ms). */
  carryLater: (row: Claim['row'], atMs: number) => Promise<void>
  gate: SoloGate
  /** False while this machine's clock cannot be trusted to expire requests. */
  clockTrusted: () => boolean
  clock: Clock
  logger: Logger
  metrics: Metrics
}

/** A wait for capacity that is not worth two writes and a message. */
const shortWaitMs = 300

/**
 * One message of a lane, from decoding to settlement. From the claim on the ledger owns the request: the message is
 * completed whatever comes of it, because a row that stands still is sent again by a sweeper.
 */
export const handleRequest =
  (deps: HandlerDeps, context: LaneContext) =>
  async (delivery: Delivery, signal: AbortSignal): Promise<Settlement> => {
    const { ledger } = deps
    let claim: Claim
    try {
      const claimed = await ledger.claim(readArrival(delivery, context))
      if (claimed.kind === 'finished') return await published(deps, claimed.row)
      if (claimed.kind === 'owned') return complete()
      claim = claimed.claim
    } catch (thrown) {
      const error = toAppError(thrown)
      if (error.disposition !== 'reject') throw error
      deps.logger.warn({ code: error.code, param: error.param, lane: context.name }, 'a message was rejected')
      return rejectDelivery(deps, delivery, context, error)
    }

    const logger = deps.logger.child({ requestId: claim.row.id, tenant: claim.row.tenant })
    try {
      const stop = stopSignal(signal, claim.signal)
      let outcome = await runClaim(deps, claim, stop)
      while (outcome.kind === 'later' && outcome.afterMs <= shortWaitMs) {
        await sleep(outcome.afterMs, { signal: stop, clock: deps.clock })
        outcome = await runClaim(deps, claim, stop)
      }
      if (outcome.kind === 'later') {
        const notBefore = deps.clock.now() + outcome.afterMs
        const row = await ledger.park(claim, notBefore)
        logger.info({ afterMs: Math.round(outcome.afterMs) }, 'waiting for capacity')
        await deps.carryLater(row, notBefore)
        return complete()
      }
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

/** Publishes a stored result and completes; when the topic is away the sweeper publishes, and nothing is held up. */
async function published({ outbox, logger }: HandlerDeps, row: Claim['row']): Promise<Settlement> {
  try {
    await outbox.publish(row)
  } catch (err) {
    logger.warn({ err, requestId: row.id, tenant: row.tenant }, 'the result is stored; its event will be sent later')
  }
  return complete()
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
