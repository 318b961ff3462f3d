import { AppError } from '@sluice/errors'
import type { EventHubSender, Sender } from '@sluice/messaging'
import { type SignalRService, signalrUser } from '@sluice/signalr'
import type { DirectSink } from './handle-direct-sink.ts'

/** SignalR: the event as the one argument of `finished`, to every connection of the tenant's user. */
export const signalrSink = (signalr: SignalRService): DirectSink => ({
  name: 'signalr',
  async send(target, event, { tenant }, signal) {
    if (target.type !== 'signalr') return
    await signalr.sendToUser(signalrUser(tenant, target.user), 'finished', [event], signal)
  },
})

/** Event Hubs: the event in structured mode; events of one conversation, else of one tenant, keep their order. */
export const eventHubsSink = (hub: EventHubSender): DirectSink => ({
  name: 'event-hubs',
  async send(_, event, { tenant, conversation, requestId }, signal) {
    await hub.send(
      {
        body: event,
        contentType: 'application/cloudevents+json',
        partitionKey: conversation === undefined ? tenant : `${tenant}|${conversation}`,
        properties: { id: event.id, type: event.type, requestId, tenant },
      },
      signal,
    )
  },
})

/** Reply queues: the event to the queue that the message named, on its session, correlated by the custom id. */
export const replySink = (senderFor: (queue: string) => Sender): DirectSink => ({
  name: 'service-bus',
  async send(target, event, { requestId, tenant }, signal) {
    if (target.type !== 'service-bus') throw new AppError('internal', 'not a reply target')
    await senderFor(target.queue).send(
      {
        body: event,
        contentType: 'application/cloudevents+json',
        subject: event.type,
        correlationId: event.data.custom_id,
        ...(target.session_id === undefined ? {} : { sessionId: target.session_id }),
        properties: { requestId, tenant, eventId: event.id },
      },
      signal,
    )
  },
})
