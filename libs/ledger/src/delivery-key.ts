import type { Delivery } from '@sluice/messaging'

/** What identifies a message's request: the caller's key, else the message id, the same on every redelivery. */
export function deliveryKey(delivery: Delivery): string {
  const key = delivery.properties.idempotencyKey
  return typeof key === 'string' && key !== '' ? key : delivery.messageId
}
