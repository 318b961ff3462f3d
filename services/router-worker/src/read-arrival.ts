import {
  checkDeliverTargets,
  decodeLine,
  isRequestId,
  type Lane,
  type PlatformConfig,
  tenantOnLane,
} from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { type ClaimInput, deliveryKey } from '@sluice/ledger'
import type { Delivery } from '@sluice/messaging'
import { checkBlobName } from '@sluice/storage'

/** One lane as a worker sees it. */
export interface LaneContext {
  name: string
  lane: Lane
  config: PlatformConfig
}

/**
 * What a message asks for, checked against the lane and the tenant's policy.
 * @throws AppError of disposition `reject`; `param` names the field.
 */
export function readArrival(delivery: Delivery, context: LaneContext): ClaimInput {
  const line = decodeLine(delivery.body)
  const tenant = tenantOnLane(context.name, context.lane, line.sluice?.tenant ?? textProperty(delivery, 'tenant'))
  checkDeliverTargets(context.config, tenant, line.sluice?.deliver)
  checkReplyTo(delivery, tenant, context)
  if (line.body_ref !== undefined) checkBlobName(tenant, line.body_ref.blob)
  if (line.file_ref !== undefined) checkBlobName(tenant, line.file_ref.blob)
  return {
    tenant,
    key: deliveryKey(delivery),
    line,
    lane: context.name,
    via: 'service-bus',
    replyTo: delivery.replyTo,
    replyToSessionId: delivery.replyToSessionId,
    ...(context.lane.sessions ? { sessionId: delivery.sessionId } : {}),
    traceparent: delivery.traceparent,
    enqueuedAt: delivery.enqueuedAt,
    expectExisting: delivery.properties.ledger === true && isRequestId(textProperty(delivery, 'requestId') ?? ''),
  }
}

export function textProperty(delivery: Delivery, name: string): string | undefined {
  const value = delivery.properties[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}

function checkReplyTo(delivery: Delivery, tenant: string, { config }: LaneContext): void {
  if (delivery.replyTo === undefined) return
  if (config.tenants[tenant]?.reply_queues.includes(delivery.replyTo) === true) return
  throw new AppError('invalid_line', 'replyTo: is not on the list of reply queues of this tenant', { param: 'replyTo' })
}
