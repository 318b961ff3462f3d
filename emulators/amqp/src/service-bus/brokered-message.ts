import type { PackedBytes } from '../amqp/packed-bytes.ts'

/** What a stored message is to its queue. A locked message is `active`: the lock is kept beside it. */
export type MessageState = 'active' | 'deferred' | 'scheduled'

/** A message in a queue, subscription or dead-letter queue. `annotations` and `bare` are in the sender's encoding. */
export type BrokeredMessage = {
  /** Key in the store, unique in the namespace and stable for as long as the message lives in one entity. */
  rowId: number
  sequenceNumber: number
  /** The number given where the message first entered the namespace; 0 when it was not forwarded or published. */
  enqueuedSequenceNumber: number
  enqueuedAtMs: number
  /** `Infinity` when it never expires. */
  expiresAtMs: number
  ttlMs: number | undefined
  scheduledAtMs: number | undefined
  state: MessageState
  deliveryCount: number
  deadLetterSource: string | undefined
  messageId: string
  sessionId: string | undefined
  durable: boolean
  priority: number
  annotations: Buffer
  annotationCount: number
  /** Undefined while only the journal has it; see QueueContents.bareOf. */
  bare: PackedBytes | undefined
  bareBytes: number
  lock: MessageLock | undefined
}

export type LoadedMessage = BrokeredMessage & { bare: PackedBytes }

export type MessageLock = {
  /** Unique in the namespace, also across restarts; see lock-token.ts. */
  id: number
  lockedUntilMs: number
  /** Whoever holds the lock; told when the lock expires. */
  owner: LockOwner | undefined
}

export type LockOwner = {
  /** The lock of this delivery no longer holds: it expired or was taken away. */
  lockLost(lockId: number): void
}
