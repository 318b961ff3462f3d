import type { SQLInputValue, SQLOutputValue } from 'node:sqlite'
import { borrow, pack, type PackedBytes } from '../amqp/packed-bytes.ts'
import type { BrokeredMessage, LoadedMessage, MessageState } from '../service-bus/brokered-message.ts'
import type { StoredEvent } from './journal.ts'

type Row = Record<string, SQLOutputValue>

const bytes = (value: SQLOutputValue | undefined): Buffer =>
  value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : Buffer.alloc(0)
const text = (value: SQLOutputValue | undefined): string | undefined => (typeof value === 'string' ? value : undefined)
const number = (value: SQLOutputValue | undefined): number => Number(value ?? 0)
const optional = (value: SQLOutputValue | undefined): number | undefined =>
  value === null || value === undefined ? undefined : Number(value)

/** The values of a message in the order of the table's columns. The bytes are borrowed: they are to be bound at once. */
export const messageColumns = (entity: number, message: BrokeredMessage, bare: PackedBytes): SQLInputValue[] => [
  message.rowId,
  entity,
  message.sequenceNumber,
  message.enqueuedSequenceNumber,
  message.enqueuedAtMs,
  message.expiresAtMs === Infinity ? null : message.expiresAtMs,
  message.ttlMs ?? null,
  message.scheduledAtMs ?? null,
  message.state,
  message.deliveryCount,
  message.deadLetterSource ?? null,
  message.messageId,
  message.sessionId ?? null,
  message.durable ? 1 : 0,
  message.priority,
  message.annotationCount,
  message.annotations,
  message.lock?.id ?? null,
  message.lock?.lockedUntilMs ?? null,
  borrow(bare),
]

/** @throws Error when there is no such row */
export const bareOfRow = (row: Row | undefined): PackedBytes => {
  if (row === undefined) throw new Error('the message is not in the journal')
  return pack(bytes(row['bare']))
}

export const messageOfRow = (row: Row): LoadedMessage => ({
  rowId: number(row['id']),
  sequenceNumber: number(row['sequence']),
  enqueuedSequenceNumber: number(row['enqueued_sequence']),
  enqueuedAtMs: number(row['enqueued_at']),
  expiresAtMs: optional(row['expires_at']) ?? Infinity,
  ttlMs: optional(row['ttl']),
  scheduledAtMs: optional(row['scheduled_at']),
  state: (text(row['state']) ?? 'active') as MessageState,
  deliveryCount: number(row['delivery_count']),
  deadLetterSource: text(row['dead_letter_source']),
  messageId: text(row['message_id']) ?? '',
  sessionId: text(row['session_id']),
  durable: number(row['durable']) === 1,
  priority: number(row['priority']),
  annotations: bytes(row['annotations']),
  annotationCount: number(row['annotation_count']),
  bare: pack(bytes(row['bare'])),
  bareBytes: bytes(row['bare']).length,
  lock:
    row['lock_id'] === null
      ? undefined
      : { id: number(row['lock_id']), lockedUntilMs: number(row['locked_until']), owner: undefined },
})

/** The values of an event in the order of the table's columns. The bytes are borrowed: they are to be bound at once. */
export const eventColumns = (partition: number, event: StoredEvent): SQLInputValue[] => [
  partition,
  event.sequenceNumber,
  event.offset,
  event.enqueuedAtMs,
  event.partitionKey ?? null,
  event.annotationCount,
  event.annotations,
  borrow(event.bare),
]

export const eventOfRow = (row: Row): StoredEvent => ({
  sequenceNumber: number(row['sequence']),
  offset: number(row['position']),
  enqueuedAtMs: number(row['enqueued_at']),
  partitionKey: text(row['partition_key']),
  annotationCount: number(row['annotation_count']),
  annotations: bytes(row['annotations']),
  bare: pack(bytes(row['bare'])),
})
