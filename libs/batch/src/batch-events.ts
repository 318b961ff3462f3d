import type { BatchEvent, BatchObject, DeliverTarget } from '@sluice/contracts'
import type { OutgoingMessage, Sender } from '@sluice/messaging'

/** The CloudEvent of something that happened to a batch. @param name `created`, `progress.3`, `completed`, … */
export function batchEvent(name: string, batch: BatchObject, at: string, traceparent?: string): BatchEvent {
  const type = `sluice.batch.${name.split('.')[0]}` as BatchEvent['type']
  return {
    specversion: '1.0',
    id: `${batch.id}.${name}`,
    type,
    source: `/sluice/${batch.sluice.tenant}`,
    subject: batch.id,
    time: at,
    datacontenttype: 'application/json',
    ...(traceparent === undefined ? {} : { traceparent }),
    data: batch,
  }
}

/** The message that puts a batch's event on topic `results`, with the properties by which its subscriptions filter. */
function batchMessage(event: BatchEvent, targets: readonly DeliverTarget[]): OutgoingMessage {
  const has = (type: DeliverTarget['type']) => targets.some((target) => target.type === type)
  return {
    body: event,
    contentType: 'application/cloudevents+json',
    subject: event.type,
    correlationId: event.subject,
    properties: {
      kind: 'batch',
      requestId: event.subject,
      batchId: event.subject,
      tenant: event.data.sluice.tenant,
      status: event.type.slice('sluice.batch.'.length),
      sink_webhook: has('webhook'),
      sink_signalr: has('signalr'),
      sink_event_hubs: has('event-hubs'),
      sink_service_bus: has('service-bus'),
      deliver: JSON.stringify(targets),
      ...(event.traceparent === undefined ? {} : { traceparent: event.traceparent }),
    },
  }
}

/** Publishes batch events. @throws AppError `queue_unavailable`: the row still names the event, and it is sent later */
export const publishBatchEvent = (
  topic: Pick<Sender, 'send'>,
  event: BatchEvent,
  targets: readonly DeliverTarget[] = [],
): Promise<void> => topic.send(batchMessage(event, targets))
