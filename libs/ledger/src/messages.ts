import { type DeliverTarget, resultEvent, type ResultEvent } from '@sluice/contracts'
import type { OutgoingMessage } from '@sluice/messaging'
import { lineOf, type Row } from './row.ts'

/** Where a row's result goes: the targets of its line, and the reply queue that its message named. */
function targetsOf(row: Row): DeliverTarget[] {
  const targets = [...(row.line.sluice?.deliver ?? [])]
  if (row.reply_to !== undefined) {
    const session = row.reply_to_session_id
    targets.push({
      type: 'service-bus',
      queue: row.reply_to,
      ...(session === undefined ? {} : { session_id: session }),
    })
  }
  return targets
}

/**
 * The message that carries a stored row on its lane. It has the row's key, so that whoever receives it finds the row,
 * and says `ledger`, so that one patch claims it. Its session is the one that it came with, else its tenant's conversation:
 * two tenants' conversations of one name are two sessions.
 */
export function rowMessage(row: Row): OutgoingMessage {
  const { conversation, priority } = row.line.sluice ?? {}
  const session = row.session_id ?? (conversation === undefined ? undefined : `${row.tenant}|${conversation}`)
  return {
    body: lineOf(row),
    contentType: 'application/json',
    subject: row.line.url ?? '',
    correlationId: row.line.custom_id,
    ...(session === undefined ? {} : { sessionId: session }),
    properties: {
      requestId: row.id,
      tenant: row.tenant,
      idempotencyKey: row.key,
      ledger: true,
      ...(priority === undefined ? {} : { priority }),
      ...(row.traceparent === undefined ? {} : { traceparent: row.traceparent }),
    },
  }
}

/**
 * The message that publishes a stored result: the CloudEvent as its body, the sinks as properties for the
 * subscriptions' filters, and the targets beside it, so that a notifier reads no row on the way.
 */
export function resultMessage(row: Row): OutgoingMessage {
  const event = eventOf(row)
  const targets = targetsOf(row)
  const has = (type: DeliverTarget['type']) => targets.some((target) => target.type === type)
  return {
    body: event,
    contentType: 'application/cloudevents+json',
    subject: event.type,
    correlationId: row.line.custom_id,
    properties: {
      requestId: row.id,
      tenant: row.tenant,
      status: event.data.sluice.status,
      sink_webhook: has('webhook'),
      sink_signalr: has('signalr'),
      sink_event_hubs: has('event-hubs'),
      sink_service_bus: has('service-bus'),
      deliver: JSON.stringify(targets),
      ...(row.line.sluice?.conversation === undefined ? {} : { conversation: row.line.sluice.conversation }),
      ...(row.traceparent === undefined ? {} : { traceparent: row.traceparent }),
    },
  }
}

/** The event of a terminal row; the same for every publishing. */
function eventOf(row: Row): ResultEvent {
  if (row.result === undefined) throw new TypeError(`${row.id} has no result`)
  return resultEvent(row.result, row.finished_at ?? row.updated_at, row.traceparent)
}
