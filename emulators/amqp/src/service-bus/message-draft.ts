import type { ParsedMessage } from '../amqp/parse-message.ts'
import type { LoadedMessage } from './brokered-message.ts'

/** A message without a place in an entity: as a sender gave it, or on its way from one entity to another. */
export type MessageDraft = ParsedMessage & {
  /** The number it got where it first entered the namespace. */
  enqueuedSequenceNumber?: number
  /** The entity that dead-lettered it, once it was forwarded from there. */
  deadLetterSource?: string | undefined
}

/** Where a message goes instead of waiting: a topic's subscriptions, or the target of a forward. `sequenceNumber` is the one it got here. */
export type Route = (draft: MessageDraft, sequenceNumber: number) => void

type Place = { rowId: number; sequenceNumber: number; now: number; defaultTtlMs: number }

/** The message a draft becomes in an entity. Its time to live is the shorter of its own and the entity's. */
export const placeMessage = (
  draft: MessageDraft,
  { rowId, sequenceNumber, now, defaultTtlMs }: Place,
): LoadedMessage => {
  const scheduled = draft.scheduledAtMs !== undefined && draft.scheduledAtMs > now
  const ttlMs = Math.min(draft.ttlMs ?? Infinity, defaultTtlMs)
  const startsAtMs = scheduled ? (draft.scheduledAtMs ?? now) : now
  return {
    rowId,
    sequenceNumber,
    enqueuedSequenceNumber: draft.enqueuedSequenceNumber ?? 0,
    enqueuedAtMs: now,
    expiresAtMs: startsAtMs + ttlMs,
    ttlMs: ttlMs === Infinity ? undefined : ttlMs,
    scheduledAtMs: draft.scheduledAtMs,
    state: scheduled ? 'scheduled' : 'active',
    deliveryCount: 0,
    deadLetterSource: draft.deadLetterSource,
    messageId: draft.messageId,
    sessionId: draft.sessionId,
    durable: draft.durable,
    priority: draft.priority,
    annotations: draft.annotations,
    annotationCount: draft.annotationCount,
    bare: draft.bare,
    bareBytes: draft.bare.length,
    lock: undefined,
  }
}

/** A stored message on its way to another entity. */
export const draftOf = (message: LoadedMessage): MessageDraft => ({
  durable: message.durable,
  priority: message.priority,
  ttlMs: message.ttlMs,
  annotations: message.annotations,
  annotationCount: message.annotationCount,
  bare: message.bare,
  messageId: message.messageId,
  sessionId: message.sessionId,
  partitionKey: undefined,
  scheduledAtMs: undefined,
  enqueuedSequenceNumber:
    message.enqueuedSequenceNumber === 0 ? message.sequenceNumber : message.enqueuedSequenceNumber,
  deadLetterSource: message.deadLetterSource,
})
