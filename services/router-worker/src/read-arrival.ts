import {
  checkDeliverTargets,
  decodeLine,
  isRequestId,
  type Lane,
  type PlatformConfig,
  tenantSchema,
} from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { ClaimInput } from '@sluice/ledger'
import type { Delivery } from '@sluice/messaging'

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
  const tenant = tenantOf(line.sluice?.tenant ?? textProperty(delivery, 'tenant'), context)
  checkDeliverTargets(context.config, tenant, line.sluice?.deliver)
  checkReplyTo(delivery, tenant, context)
  const { body_ref } = line
  if (body_ref !== undefined && !body_ref.blob.startsWith(`${tenant}/`)) {
    throw new AppError('body_ref_not_found', `body_ref.blob: must lie under ${tenant}/`, { param: 'body_ref.blob' })
  }
  const priority = line.sluice?.priority ?? context.lane.priority
  return {
    tenant,
    key: keyOf(delivery, context.name),
    line: priority === undefined ? line : { ...line, sluice: { ...line.sluice, priority } },
    lane: context.name,
    via: 'service-bus',
    replyTo: delivery.replyTo,
    replyToSessionId: delivery.replyToSessionId,
    traceparent: delivery.traceparent,
    enqueuedAt: delivery.enqueuedAt,
    expectExisting: delivery.properties.ledger === true && isRequestId(textProperty(delivery, 'requestId') ?? ''),
  }
}

/** The lane decides which tenants it serves; a message cannot name one that the lane does not. */
export function tenantOf(named: string | undefined, { name, lane }: LaneContext): string {
  const tenant = named ?? lane.default_tenant
  if (tenant === undefined) {
    throw new AppError('tenant_not_allowed', `sluice.tenant: required on ${name}`, { param: 'sluice.tenant' })
  }
  if (!tenantSchema.safeParse(tenant).success || (lane.tenants !== '*' && !lane.tenants.includes(tenant))) {
    throw new AppError(
      'tenant_not_allowed',
      `sluice.tenant: ${JSON.stringify(tenant.slice(0, 64))} may not use ${name}`,
      {
        param: 'sluice.tenant',
      },
    )
  }
  return tenant
}

/** The caller's key, else the message id, else queue and sequence number: the same on every redelivery. */
export function keyOf(delivery: Delivery, queue: string): string {
  return textProperty(delivery, 'idempotencyKey') ?? delivery.messageId ?? `${queue}/${delivery.sequenceNumber}`
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
