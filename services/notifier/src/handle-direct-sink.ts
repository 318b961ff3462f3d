import type { DeliverTarget, ResultEvent } from '@sluice/contracts'
import { type AppError, toAppError } from '@sluice/errors'
import type { Deliveries } from '@sluice/ledger'
import { complete, deadLetter, type Delivery, retry, type Settlement } from '@sluice/messaging'
import { type Clock, fullJitter } from '@sluice/resilience'
import type { Blobs } from '@sluice/storage'
import type { Logger } from '@sluice/telemetry'
import type { DeliveryMetrics } from './delivery-metrics.ts'
import { presentable } from './large-results.ts'
import { readResult, type Result } from './read-result.ts'

/** One of the sinks that are called while the message is held: its own subscription is its queue and its timer. */
export interface DirectSink {
  name: 'signalr' | 'event-hubs' | 'service-bus'
  send(target: DeliverTarget, event: ResultEvent, result: Result, signal: AbortSignal): Promise<void>
}

interface DirectSinkDeps {
  deliveries: Deliveries
  blobs: Blobs
  clock: Clock
  logger: Logger
  metrics: DeliveryMetrics
}

/** Deliveries of a message after which the sink counts as failed for it; below the subscription's own limit. */
const maxDeliveries = 20
const pause = fullJitter({ baseMs: 200, capMs: 5000 })

/**
 * Sends to each target of the sink's type that has no delivered row yet, stores the row, then completes. A crash
 * between sending and storing sends the same event id again.
 */
export const handleDirectSink =
  (deps: DirectSinkDeps, sink: DirectSink) =>
  async (delivery: Delivery, signal: AbortSignal): Promise<Settlement> => {
    const result = readResult(delivery)
    const log = deps.logger.child({ requestId: result.requestId, tenant: result.tenant, sink: sink.name })
    const targets = result.targets.filter((target) => target.type === sink.name)
    const last = delivery.deliveryCount + 1 >= maxDeliveries
    let failure: AppError | undefined
    let waitMs = 0
    let event: ResultEvent | undefined
    for (const target of targets) {
      const startedAt = deps.clock.now()
      const delivered = { tenant: result.tenant, requestId: result.requestId, event: result.event, target }
      // The first delivery has no row to look for.
      if (delivery.deliveryCount > 0 && (await deps.deliveries.isDelivered(delivered))) continue
      try {
        event ??= await presentable(result.event, deps.blobs, signal)
        await sink.send(target, event, result, signal)
        await deps.deliveries.settled(delivered, {
          status: 'delivered',
          at: startedAt,
          ms: deps.clock.now() - startedAt,
        })
        deps.metrics.attempts.inc({ sink: sink.name, outcome: 'delivered' })
        deps.metrics.latency.observe({ sink: sink.name }, (deps.clock.now() - Date.parse(result.event.time)) / 1000)
        log.info({ ms: deps.clock.now() - startedAt }, 'delivered')
      } catch (thrown) {
        const error = toAppError(thrown, 'delivery_failed')
        failure = error
        waitMs = Math.max(waitMs, error.retryAfterMs ?? pause(delivery.deliveryCount + 1))
        const final = last || error.disposition === 'fail'
        deps.metrics.attempts.inc({ sink: sink.name, outcome: final ? 'failed' : 'again' })
        log.warn({ code: error.code, final, deliveryCount: delivery.deliveryCount }, 'not delivered')
        if (final) {
          await deps.deliveries.settled(delivered, {
            status: 'failed',
            at: startedAt,
            ms: deps.clock.now() - startedAt,
            error: error.message,
          })
        }
      }
    }
    if (failure === undefined) return complete()
    return last || failure.disposition === 'fail' ? deadLetter(failure.code, failure.message) : retry(waitMs)
  }
