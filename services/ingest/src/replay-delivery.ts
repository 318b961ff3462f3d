import { type Deliveries, type DeliveryRow, overdueGraceMs } from '@sluice/ledger'
import type { Sender } from '@sluice/messaging'
import type { Clock } from '@sluice/resilience'

/** Attempts that a row may hold: it is read and rewritten with each. */
const maxAttempts = 100

const sinkProperty = {
  webhook: 'sink_webhook',
  signalr: 'sink_signalr',
  'event-hubs': 'sink_event_hubs',
  'service-bus': 'sink_service_bus',
} as const

/**
 * Has an ended delivery made again. A webhook's row becomes pending and so overdue that the next sweep finds it; the
 * other sinks have no timer, so their event is published again, for that target alone.
 * @returns false when the row changed meanwhile, or holds as many attempts as it may
 */
export async function replayDelivery(
  deps: { deliveries: Pick<Deliveries, 'reopen'>; results: Pick<Sender, 'send'>; clock: Clock },
  row: DeliveryRow,
): Promise<boolean> {
  if (row.attempts.length >= maxAttempts) return false
  if (row.sink === 'webhook') return deps.deliveries.reopen(row, deps.clock.now() - overdueGraceMs)
  await deps.results.send({
    body: row.event,
    contentType: 'application/cloudevents+json',
    subject: row.event.type,
    properties: {
      tenant: row.tenant,
      requestId: row.requestId,
      kind: 'replay',
      [sinkProperty[row.sink]]: true,
      deliver: JSON.stringify([row.target]),
    },
  })
  return true
}
