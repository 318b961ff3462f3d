import type { ServiceBusReceivedMessage } from '@azure/service-bus'

/** A message as one delivery of it: the same message may come again with another lock. */
export interface Delivery {
  messageId: string
  /** Unique in the entity and stable over redeliveries. */
  sequenceNumber: string
  /** Deliveries before this one, as the broker counts them: 0 at first. */
  deliveryCount: number
  /** Epoch milliseconds by the broker's clock; of a scheduled message, when it became visible. */
  enqueuedAt: number
  lockToken: string
  /** The bytes of the data section as they were sent; see {@link bodyBytes} for what has none. */
  body: Buffer
  subject: string | undefined
  correlationId: string | undefined
  contentType: string | undefined
  replyTo: string | undefined
  replyToSessionId: string | undefined
  sessionId: string | undefined
  properties: Record<string, unknown>
  traceparent: string | undefined
}

/** @param message received with `skipParsingBodyAsJson`, without which the SDK replaces bytes that are valid JSON */
export function toDelivery(message: ServiceBusReceivedMessage): Delivery {
  const properties: Record<string, unknown> = message.applicationProperties ?? {}
  const sequenceNumber = message.sequenceNumber?.toString() ?? ''
  return {
    messageId: message.messageId === undefined ? sequenceNumber : String(message.messageId),
    sequenceNumber,
    deliveryCount: message.deliveryCount ?? 0,
    enqueuedAt: message.enqueuedTimeUtc?.getTime() ?? Date.now(),
    get lockToken() {
      return message.lockToken ?? ''
    },
    body: bodyBytes(message.body),
    subject: message.subject,
    correlationId: message.correlationId === undefined ? undefined : String(message.correlationId),
    contentType: message.contentType,
    replyTo: message.replyTo,
    replyToSessionId: message.replyToSessionId,
    sessionId: message.sessionId,
    properties,
    // Azure's older SDKs write the same value as Diagnostic-Id.
    traceparent: textOf(properties.traceparent) ?? textOf(properties['Diagnostic-Id']),
  }
}

/**
 * A body's bytes. Data sections are taken as they are, several of them joined. A client that is not an SDK may send an
 * AMQP value or sequence: text becomes its UTF-8, anything else its JSON.
 */
function bodyBytes(body: unknown): Buffer {
  if (Buffer.isBuffer(body)) return body
  if (body instanceof Uint8Array) return Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  if (Array.isArray(body) && body.length > 0 && body.every((part) => Buffer.isBuffer(part))) return Buffer.concat(body)
  if (typeof body === 'string') return Buffer.from(body)
  return Buffer.from(JSON.stringify(body ?? null))
}

const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)
