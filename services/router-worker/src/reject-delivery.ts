import {
  type DeliverTarget,
  deliverTargetSchema,
  checkDeliverTargets,
  decodeLine,
  type RequestLine,
  salvageLine,
  tenantOnLane,
} from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { deliveryKey, type Ledger, type Outbox } from '@sluice/ledger'
import { deadLetter, type Delivery, type Settlement } from '@sluice/messaging'
import type { Logger } from '@sluice/telemetry'
import { type LaneContext, textProperty } from './read-arrival.ts'

/**
 * Answers a message that cannot become a request: where its tenant and targets can still be read, a `failed` result is
 * stored and published, so that the sender's sinks hear of it; the message is dead-lettered with code and field either
 * way, for the operator.
 */
export async function rejectDelivery(
  deps: { ledger: Ledger; outbox: Outbox; logger: Logger },
  delivery: Delivery,
  context: LaneContext,
  error: AppError,
): Promise<Settlement> {
  // A key that stands for another request must not touch that request's row.
  if (error.code !== 'idempotency_conflict') await answer(deps, delivery, context, error)
  return deadLetter(error.code, error.message)
}

async function answer(
  { ledger, outbox, logger }: { ledger: Ledger; outbox: Outbox; logger: Logger },
  delivery: Delivery,
  context: LaneContext,
  error: AppError,
): Promise<void> {
  const salvaged = salvageLine(delivery.body)
  let tenant: string
  try {
    tenant = tenantOnLane(context.name, context.lane, salvaged.tenant ?? textProperty(delivery, 'tenant'))
  } catch {
    return
  }
  const allowed = replyAllowed(delivery, tenant, context)
  try {
    const row = await ledger.reject({
      tenant,
      key: deliveryKey(delivery),
      lane: context.name,
      via: 'service-bus',
      content: delivery.body,
      sentFor: lineSentFor(delivery),
      customId: salvaged.custom_id ?? delivery.correlationId,
      deliver: readableTargets(context, tenant, salvaged.deliver),
      enqueuedAt: delivery.enqueuedAt,
      error,
      replyTo: allowed ? delivery.replyTo : undefined,
      replyToSessionId: allowed ? delivery.replyToSessionId : undefined,
      traceparent: delivery.traceparent,
    })
    if (row.result !== undefined) await outbox.publish(row)
  } catch (thrown) {
    // A key that belongs to another request: the dead letter alone tells.
    if (thrown instanceof AppError && thrown.code === 'idempotency_conflict') return
    logger.warn({ err: thrown }, 'a rejected message could not be answered yet')
    throw thrown
  }
}

/** A message of ours is refused when the configuration changed after its row was accepted: then the row has to end. */
function lineSentFor(delivery: Delivery): RequestLine | undefined {
  if (delivery.properties.ledger !== true) return undefined
  try {
    return decodeLine(delivery.body)
  } catch {
    return undefined
  }
}

/** The targets that are well formed and allowed, one by one: a bad one does not silence the others. */
function readableTargets(context: LaneContext, tenant: string, candidates: unknown[] = []): DeliverTarget[] {
  return candidates.flatMap((candidate) => {
    const target = deliverTargetSchema.safeParse(candidate)
    if (!target.success) return []
    try {
      checkDeliverTargets(context.config, tenant, [target.data])
      return [target.data]
    } catch {
      return []
    }
  })
}

const replyAllowed = (delivery: Delivery, tenant: string, { config }: LaneContext): boolean =>
  delivery.replyTo !== undefined && config.tenants[tenant]?.reply_queues.includes(delivery.replyTo) === true
