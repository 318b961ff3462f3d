import type { DeliverTarget, EventEnvelope } from '@sluice/contracts'
import { type AppError, toAppError } from '@sluice/errors'
import type { Deliveries } from '@sluice/ledger'
import { complete, deadLetter, type Delivery, retry, type Settlement } from '@sluice/messaging'
import { type Clock, fullJitter } from '@sluice/resilience'
import type { Blobs } from '@sluice/storage'
import type { Logger } from '@sluice/telemetry'
import type { DeliveryMetrics } from './delivery-metrics.ts'
import { claimCheck, presentable } from './large-results.ts'
import { type FindTargets, type Incoming, readEvent } from './read-event.ts'

/** One of the sinks that are called while the message is held: its own subscription is its queue and its timer. */
export interface DirectSink {
  name: 'signalr' | 'event-hubs' | 'service-bus'
  /** Events of more bytes of JSON go as a claim check. */
  maxBytes: number
  send(target: DeliverTarget, event: EventEnvelope, incoming: Incoming, signal: AbortSignal): Promise<void>
}

export interface DirectSinkDeps {
  deliveries: Pick<Deliveries, 'find' | 'settled'>
  blobs: Blobs
  findTargets: FindTargets
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
    const incoming = await readEvent(delivery, deps.findTargets)
    const { event, tenant, subject } = incoming
    const facts = { event: event.id, tenant, sink: sink.name }
    const last = delivery.deliveryCount + 1 >= maxDeliveries
    let failure: AppError | undefined
    let waitMs = 0
    let shown: EventEnvelope | undefined
    for (const target of incoming.targets.filter(({ type }) => type === sink.name)) {
      const startedAt = deps.clock.now()
      const delivered = { tenant, requestId: subject, event, target }
      // The first delivery has no row to look for.
      if (delivery.deliveryCount > 0 && (await deps.deliveries.find(delivered))?.status === 'delivered') continue
      try {
        shown ??= await fitting(deps, sink, incoming, signal)
        await sink.send(target, shown, incoming, signal)
        const ms = deps.clock.now() - startedAt
        await deps.deliveries.settled(delivered, { status: 'delivered', at: startedAt, ms })
        deps.metrics.attempts.inc({ sink: sink.name, outcome: 'delivered' })
        deps.metrics.latency.observe({ sink: sink.name }, (deps.clock.now() - Date.parse(event.time)) / 1000)
        deps.logger.info({ ...facts, ms }, 'delivered')
      } catch (thrown) {
        const error = toAppError(thrown, 'delivery_failed')
        const final = last || isFinal(error)
        // One that may succeed later decides about the message, also when another cannot.
        failure = failure === undefined || isFinal(failure) ? error : failure
        waitMs = Math.max(waitMs, error.retryAfterMs ?? pause(delivery.deliveryCount + 1))
        deps.metrics.attempts.inc({ sink: sink.name, outcome: final ? 'failed' : 'again' })
        deps.logger.warn({ ...facts, code: error.code, final, deliveryCount: delivery.deliveryCount }, 'not delivered')
        if (final) {
          const ms = deps.clock.now() - startedAt
          await deps.deliveries.settled(delivered, { status: 'failed', at: startedAt, ms, error: error.message })
        }
      }
    }
    if (failure === undefined) return complete()
    return last || isFinal(failure) ? deadLetter(failure.code, failure.message) : retry(waitMs)
  }

const isFinal = ({ disposition }: AppError): boolean => disposition === 'fail' || disposition === 'reject'

/** The event as the sink takes it: with its answer when that is small, as a claim check when the whole is too large. */
async function fitting(
  { blobs }: DirectSinkDeps,
  { maxBytes }: DirectSink,
  { event, tenant }: Incoming,
  signal: AbortSignal,
): Promise<EventEnvelope> {
  const shown = await presentable(tenant, event, blobs, signal)
  const tooLarge = Buffer.byteLength(JSON.stringify(shown)) > maxBytes
  return tooLarge ? claimCheck(tenant, shown, blobs, signal) : shown
}
