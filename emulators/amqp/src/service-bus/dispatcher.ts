import type { BrokeredMessage } from './brokered-message.ts'
import type { Consumer } from './consumer.ts'

/** Which message goes to which consumer, and when locks end: the part in which plain and session queues differ. */
export interface Dispatcher {
  /** A message can be delivered (again). */
  ready(message: BrokeredMessage): void
  /** The message got a lock, or its lock was renewed. */
  locked(message: BrokeredMessage): void
  /** The message no longer has this lock. */
  unlocked(message: BrokeredMessage, lockId: number): void
  /** Gives what is ready to whoever has capacity. */
  dispatch(): void
  /** Ends what has run out by `now`. */
  sweep(now: number): void
  /** When `sweep` has something to do; `Infinity` when nothing is timed. */
  nextDeadline(): number
  /** The lock expiry that a new lock on this message gets. */
  lockedUntil(message: BrokeredMessage): number
}

/** What a dispatcher may do to its queue. */
export interface DispatchedQueue {
  readonly lockDurationMs: number
  now(): number
  /** The message, when it still is there to be delivered. */
  available(sequenceNumber: number): BrokeredMessage | undefined
  /** Locks it for the consumer, or removes it when the consumer receives and deletes. */
  assign(message: BrokeredMessage, consumer: Consumer): void
  /** Takes the lock away: the delivery counts, and the message becomes ready or goes to the dead-letter queue. */
  expireLock(message: BrokeredMessage): void
  /** Takes the lock away without counting the delivery. */
  releaseLock(message: BrokeredMessage): void
  /** Records until when a session is locked; undefined when it has been given up. */
  saveSessionLock(sessionId: string, lockedUntilMs: number | undefined): void
  /** Tells the queue that `nextDeadline` may have come closer. */
  deadlineChanged(): void
}
