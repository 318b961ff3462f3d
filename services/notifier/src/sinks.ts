import type { EventEnvelope } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { EventHubSender, Sender } from '@sluice/messaging'
import { type Audience, type SignalRService, signalrUser } from '@sluice/signalr'
import type { DirectSink } from './handle-direct-sink.ts'

type SignalRTarget = { user?: string | undefined; group?: string | undefined; connection?: string | undefined }

/** The audience of a target; users and groups are the tenant's own. A connection's id is known to its client alone. */
export function audienceOf(tenant: string, { user, group, connection }: SignalRTarget): Audience | undefined {
  if (user !== undefined) return { user: signalrUser(tenant, user) }
  if (group !== undefined) return { group: signalrUser(tenant, group) }
  return connection === undefined ? undefined : { connection }
}

/** What clients are invoked with: `batch` for a batch under way, `finished` for what ends something. */
const methodOf = ({ type }: EventEnvelope): string =>
  type === 'sluice.batch.progress' || type === 'sluice.batch.created' ? 'batch' : 'finished'

/** SignalR: the event as the one argument of `finished`, or of `batch` for a batch under way. */
export const signalrSink = (signalr: SignalRService): DirectSink => ({
  name: 'signalr',
  maxBytes: 1_000_000,
  async send(target, event, { tenant }, signal) {
    const audience = target.type === 'signalr' ? audienceOf(tenant, target) : undefined
    if (audience !== undefined) await signalr.send(audience, methodOf(event), `[${JSON.stringify(event)}]`, signal)
  },
})

/**
 * Event Hubs: the event in structured mode, to the tenant's own hub if it has one. Events of one conversation, else of
 * one tenant, share a partition and keep their order.
 */
export const eventHubsSink = (hubOf: (tenant: string) => EventHubSender): DirectSink => ({
  name: 'event-hubs',
  // A batch has 1 MiB in the standard tier; properties and framing need some of it.
  maxBytes: 1_000_000,
  async send(_, event, { tenant, conversation, subject }, signal) {
    await hubOf(tenant).send(
      {
        body: event,
        contentType: 'application/cloudevents+json',
        partitionKey: conversation === undefined ? tenant : `${tenant}|${conversation}`,
        properties: { id: event.id, type: event.type, requestId: subject, tenant },
      },
      signal,
    )
  },
})

/** Reply queues: the event to the queue that the message named, on its session, correlated by the custom id. */
export const replySink = (senderFor: (queue: string) => Sender): DirectSink => ({
  name: 'service-bus',
  // The standard tier's largest message is 256 KiB, properties included.
  maxBytes: 240_000,
  async send(target, event, { subject, tenant, customId }, signal) {
    if (target.type !== 'service-bus') throw new AppError('internal', 'not a reply target')
    await senderFor(target.queue).send(
      {
        body: event,
        contentType: 'application/cloudevents+json',
        subject: event.type,
        correlationId: customId,
        ...(target.session_id === undefined ? {} : { sessionId: target.session_id }),
        properties: { requestId: subject, tenant, eventId: event.id },
      },
      signal,
    )
  },
})
