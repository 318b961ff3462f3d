import type { PackedBytes } from '../amqp/packed-bytes.ts'
import type { BrokeredMessage, LoadedMessage } from '../service-bus/brokered-message.ts'

/** An event as an Event Hubs partition keeps it. */
export type StoredEvent = {
  sequenceNumber: number
  offset: number
  enqueuedAtMs: number
  partitionKey: string | undefined
  annotations: Buffer
  annotationCount: number
  bare: PackedBytes
}

export type StoredSession = { entity: number; sessionId: string; state: Buffer }
export type StoredSessionLock = { entity: number; sessionId: string; lockedUntilMs: number }

/**
 * Where the broker's state is written. Calls record a change at once; `afterCommit` tells when everything recorded so far
 * is safe, and nothing is acknowledged to a client before that. A message may be read again until then: what is recorded of it
 * is how it is at the commit.
 */
export interface Journal {
  /** A number for an entity's path that stays the same across restarts. */
  entityId(path: string): number
  insertMessage(entity: number, message: LoadedMessage): void
  /** Everything of a message but its bytes: state, delivery count, lock, expiry. */
  updateMessage(message: BrokeredMessage): void
  /** The message with new bytes. */
  replaceMessage(message: BrokeredMessage, bare: PackedBytes): void
  /** The bytes of a message that was inserted and not removed, committed or not. Undefined when the journal keeps nothing. */
  readonly readBare: ((rowId: number) => PackedBytes) | undefined
  removeMessage(rowId: number): void
  saveSequence(entity: number, lastSequenceNumber: number): void
  saveSessionState(entity: number, sessionId: string, state: Buffer | undefined): void
  /** Until when the session is locked; undefined when it has been given up. */
  saveSessionLock(entity: number, sessionId: string, lockedUntilMs: number | undefined): void
  saveDuplicate(entity: number, messageId: string, untilMs: number): void
  saveRules(entity: number, rules: { name: string; definition: string }[]): void
  appendEvent(partition: number, event: StoredEvent): void
  removeEventsBefore(partition: number, sequenceNumber: number): void
  /** Runs `run` once all changes recorded before this call are committed; at once when there are none. */
  afterCommit(run: () => void): void
  /** Visits what a former run left behind. Called once, before any change is recorded. */
  restore(visitor: RestoreVisitor): void
  /** Forgets everything. */
  reset(): void
  close(): void
}

export type RestoreVisitor = {
  /** Visited before the messages, whose locks are only as good as their session's; in the order in which they end. */
  sessionLock(lock: StoredSessionLock): void
  message(entity: number, message: BrokeredMessage): void
  sequence(entity: number, lastSequenceNumber: number): void
  sessionState(session: StoredSession): void
  duplicate(entity: number, messageId: string, untilMs: number): void
  rules(entity: number, rules: { name: string; definition: string }[]): void
  event(partition: number, event: StoredEvent): void
  /** Locks of this run must be numbered from here. */
  run(number: number): void
}
