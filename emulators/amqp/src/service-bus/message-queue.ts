import { messageLockLost, messageNotFound, notAllowed, quotaExceeded, sessionLockLost } from '../broker-error.ts'
import type { BrokerContext } from '../broker-context.ts'
import { encodeString } from '../amqp/encode.ts'
import { changeApplicationProperties, type PropertyChanges } from './application-properties.ts'
import type { BrokeredMessage, LockOwner } from './brokered-message.ts'
import type { Consumer } from './consumer.ts'
import type { DispatchedQueue, Dispatcher } from './dispatcher.ts'
import { DuplicateHistory } from './duplicate-history.ts'
import { deadLetterProperties, type EntityProperties } from './entity-properties.ts'
import { draftOf, placeMessage, type MessageDraft, type Route } from './message-draft.ts'
import { PlainDispatcher } from './plain-dispatcher.ts'
import { QueueContents } from './queue-contents.ts'
import { QueueDeadlines } from './queue-deadlines.ts'
import { SessionDispatcher } from './session-dispatcher.ts'

export type DeadLetterCause = { reason?: string | undefined; description?: string | undefined }

const expired: DeadLetterCause = {
  reason: 'TTLExpiredException',
  description: 'The message expired and was dead lettered.',
}

/**
 * A queue, a subscription or a dead-letter queue.
 *
 *     scheduled ──due──▶ active ──delivered──▶ locked ──▶ completed: gone
 *                          ▲                     ├─ abandoned, lock expired ─▶ active, or dead-lettered after the last delivery
 *                          └─────────────────────┤
 *                                                ├─ deferred ─ received by number ─▶ locked
 *                                                └─ dead-lettered
 *
 * A locked message keeps its state (active or deferred) and has a lock beside it. The delivery count grows when a
 * delivery ends without settlement that removes the message; at `maxDeliveryCount` the message is dead-lettered.
 */
export class MessageQueue implements DispatchedQueue {
  readonly path: string
  readonly properties: EntityProperties
  readonly contents: QueueContents
  readonly plain: PlainDispatcher | undefined
  readonly sessions: SessionDispatcher | undefined
  readonly deadLetters: MessageQueue | undefined
  /** Set when messages do not stay here: on topics and where forwarding is configured. */
  route: Route | undefined
  readonly #context: BrokerContext
  readonly #dispatcher: Dispatcher
  readonly #locked = new Map<number, BrokeredMessage>()
  readonly #duplicates: DuplicateHistory | undefined
  readonly #deadlines: QueueDeadlines
  #dispatchPending = false

  constructor(context: BrokerContext, path: string, properties: EntityProperties, isDeadLetterQueue = false) {
    this.#context = context
    this.path = path
    this.properties = properties
    this.contents = new QueueContents(context, path)
    if (properties.requiresSession) this.#dispatcher = this.sessions = new SessionDispatcher(this)
    else this.#dispatcher = this.plain = new PlainDispatcher(this)
    if (properties.requiresDuplicateDetection) this.#duplicates = new DuplicateHistory(properties.duplicateWindowMs)
    if (!isDeadLetterQueue)
      this.deadLetters = new MessageQueue(context, `${path}/$DeadLetterQueue`, deadLetterProperties(properties), true)
    this.#deadlines = new QueueDeadlines(context, {
      due: (sequenceNumber) => this.#activate(sequenceNumber),
      expired: (sequenceNumber) => this.#expireIfOver(sequenceNumber),
      sweep: (now) => this.#dispatcher.sweep(now),
      nextDeadline: () => this.#dispatcher.nextDeadline(),
    })
  }

  get lockDurationMs(): number {
    return this.properties.lockDurationMs
  }

  now(): number {
    return this.#context.clock.now()
  }

  /**
   * Takes messages in, all or none.
   * @returns their sequence numbers; 0 for a duplicate, which is accepted and dropped
   * @throws BrokerError when one of them cannot be taken in
   */
  publish(drafts: MessageDraft[]): number[] {
    let bytes = this.contents.bytes
    for (const draft of drafts) {
      bytes += draft.bare.length
      if (this.properties.requiresSession && draft.sessionId === undefined) {
        throw notAllowed(
          `The SessionId was not set on a message, and it cannot be sent to the entity '${this.path}', which requires sessions.`,
        )
      }
    }
    if (bytes > this.properties.maxSizeBytes) throw quotaExceeded(this.path)
    const now = this.now()
    return drafts.map((draft) => this.#publishOne(draft, now))
  }

  /** Dead-letters a message that this entity cannot take in, although its sender was told that it is accepted. */
  refuse(draft: MessageDraft, cause: DeadLetterCause): void {
    const place = {
      rowId: this.#context.newRowId(),
      sequenceNumber: this.contents.nextSequenceNumber(),
      now: this.now(),
      defaultTtlMs: Infinity,
    }
    this.#moveToDeadLetters(placeMessage(draft, place), cause)
  }

  /** @throws BrokerError message-not-found; then none of them is cancelled */
  cancelScheduled(sequenceNumbers: number[]): void {
    const messages = sequenceNumbers.map((sequenceNumber) => {
      const message = this.contents.get(sequenceNumber)
      if (message?.state !== 'scheduled')
        throw messageNotFound(`There is no scheduled message with sequence number ${sequenceNumber} in '${this.path}'.`)
      return message
    })
    for (const message of messages) this.contents.remove(message)
  }

  /** Removes a message whose delivery was locked. @throws BrokerError when the lock is lost, as do all settlements */
  complete(lockId: number): void {
    this.contents.remove(this.#unlock(lockId))
  }

  abandon(lockId: number, changes?: PropertyChanges): void {
    const message = this.#unlock(lockId)
    this.#change(message, changes)
    this.#deliveryEnded(message)
  }

  defer(lockId: number, changes?: PropertyChanges): void {
    const message = this.#unlock(lockId)
    this.#change(message, changes)
    message.state = 'deferred'
    this.contents.updated(message)
  }

  deadLetter(lockId: number, cause: DeadLetterCause, changes?: PropertyChanges): void {
    if (this.deadLetters === undefined) throw notAllowed(`A message in '${this.path}' cannot be dead-lettered again.`)
    const message = this.#unlock(lockId)
    this.#change(message, changes)
    this.#moveToDeadLetters(message, cause)
  }

  /** Extends the lock by the entity's lock duration. @returns the new expiry */
  renewLock(lockId: number): number {
    const message = this.#lockedMessage(lockId)
    if (message.lock === undefined) throw messageLockLost()
    message.lock.lockedUntilMs = this.#dispatcher.lockedUntil(message)
    this.#dispatcher.locked(message)
    this.contents.updated(message)
    return message.lock.lockedUntilMs
  }

  /** Ends every lock at once, as the service may do at any time. @returns how many there were */
  loseLocks(): number {
    const sessions = this.sessions?.loseLocks() ?? 0
    const locks = [...this.#locked.values()]
    for (const message of locks) this.expireLock(message)
    return sessions + locks.length
  }

  /**
   * Locks or, in receive-and-delete mode, removes deferred messages.
   * @throws BrokerError message-not-found when one of them is not deferred here or is locked
   */
  receiveDeferred(sequenceNumbers: number[], owner: LockOwner | undefined, removes: boolean): BrokeredMessage[] {
    const messages = sequenceNumbers.map((sequenceNumber) => {
      const message = this.contents.get(sequenceNumber)
      if (message?.state !== 'deferred' || message.lock !== undefined) {
        throw messageNotFound(
          `There is no deferred message with sequence number ${sequenceNumber} in '${this.path}', or it is locked.`,
        )
      }
      return message
    })
    for (const message of messages) {
      if (removes) this.contents.remove(message)
      else this.#lock(message, owner)
    }
    return messages
  }

  /** Up to `max` messages from a sequence number upwards, in any state, without locking them. */
  peek(from: number, max: number, sessionId?: string): BrokeredMessage[] {
    const found: BrokeredMessage[] = []
    const now = this.now()
    for (const message of this.contents.from(from)) {
      if (found.length >= max) break
      if (message.expiresAtMs > now && (sessionId === undefined || message.sessionId === sessionId)) found.push(message)
    }
    return found
  }

  setSessionState(sessionId: string, state: Buffer | undefined): void {
    this.sessions?.setState(sessionId, state)
    this.#context.journal.saveSessionState(this.contents.entity, sessionId, state)
  }

  /** Delivers what is ready to whoever has capacity. */
  dispatch(): void {
    this.#dispatchPending = false
    this.#dispatcher.dispatch()
  }

  available(sequenceNumber: number): BrokeredMessage | undefined {
    const message = this.contents.get(sequenceNumber)
    if (message === undefined || message.state !== 'active' || message.lock !== undefined) return undefined
    if (message.expiresAtMs > this.now()) return message
    this.#expire(message)
    return undefined
  }

  assign(message: BrokeredMessage, consumer: Consumer): void {
    if (consumer.mode === 'receive-and-delete') this.contents.remove(message)
    else this.#lock(message, consumer)
  }

  expireLock(message: BrokeredMessage): void {
    const owner = this.#dropLock(message)
    this.#deliveryEnded(message)
    owner?.owner?.lockLost(owner.id)
  }

  releaseLock(message: BrokeredMessage): void {
    this.#dropLock(message)
    this.#makeReady(message)
  }

  /** The link that holds the lock is gone; the lock stays. */
  disown(lockId: number): void {
    const lock = this.#locked.get(lockId)?.lock
    if (lock !== undefined) lock.owner = undefined
  }

  deadlineChanged(): void {
    this.#deadlines.arm()
  }

  /** Puts back a message of an earlier run. Locks of sessions ended with the connections that held them. */
  restore(message: BrokeredMessage): void {
    this.contents.restore(message)
    if (message.expiresAtMs < Infinity) this.#deadlines.expires(message.expiresAtMs, message.sequenceNumber)
    if (message.state === 'scheduled') this.#deadlines.schedule(message.scheduledAtMs ?? 0, message.sequenceNumber)
    if (this.sessions !== undefined) message.lock = undefined
    if (message.lock !== undefined) {
      this.#locked.set(message.lock.id, message)
      this.#dispatcher.locked(message)
    } else if (message.state === 'active') this.#dispatcher.ready(message)
  }

  restoreDuplicate(messageId: string, untilMs: number): void {
    this.#duplicates?.restore(messageId, untilMs)
  }

  /** A message from the entity this dead-letter queue belongs to. It keeps its sequence number. */
  #adopt(message: BrokeredMessage): void {
    this.contents.restoreSequence(message.sequenceNumber)
    if (this.route !== undefined) {
      this.route({ ...draftOf(message), ttlMs: undefined }, message.sequenceNumber)
      return
    }
    const adopted: BrokeredMessage = {
      ...message,
      rowId: this.#context.newRowId(),
      state: 'active',
      expiresAtMs: Infinity,
      lock: undefined,
    }
    this.contents.insert(adopted)
    this.#makeReady(adopted)
  }

  #publishOne(draft: MessageDraft, now: number): number {
    if (this.#duplicates !== undefined) {
      const untilMs = this.#duplicates.note(draft.messageId, now)
      if (untilMs === undefined) return 0
      this.#context.journal.saveDuplicate(this.contents.entity, draft.messageId, untilMs)
    }
    const sequenceNumber = this.contents.nextSequenceNumber()
    const scheduled = draft.scheduledAtMs !== undefined && draft.scheduledAtMs > now
    if (this.route !== undefined && !scheduled) {
      this.route(draft, sequenceNumber)
      return sequenceNumber
    }
    const message = placeMessage(draft, {
      rowId: this.#context.newRowId(),
      sequenceNumber,
      now,
      defaultTtlMs: this.properties.defaultTtlMs,
    })
    this.contents.insert(message)
    if (message.expiresAtMs < Infinity) this.#deadlines.expires(message.expiresAtMs, sequenceNumber)
    if (scheduled) this.#deadlines.schedule(draft.scheduledAtMs ?? now, sequenceNumber)
    else this.#makeReady(message)
    return sequenceNumber
  }

  // A scheduled message joins the queue as if it had been sent at its due time, with a new sequence number.
  #activate(scheduledNumber: number): void {
    const message = this.contents.get(scheduledNumber)
    if (message?.state !== 'scheduled') return
    this.contents.remove(message)
    const sequenceNumber = this.contents.nextSequenceNumber()
    if (this.route !== undefined) {
      this.route(
        { ...draftOf(message), enqueuedSequenceNumber: 0, scheduledAtMs: message.scheduledAtMs },
        sequenceNumber,
      )
      return
    }
    const active: BrokeredMessage = {
      ...message,
      rowId: this.#context.newRowId(),
      sequenceNumber,
      enqueuedAtMs: this.now(),
      state: 'active',
    }
    this.contents.insert(active)
    if (active.expiresAtMs < Infinity) this.#deadlines.expires(active.expiresAtMs, sequenceNumber)
    this.#makeReady(active)
  }

  #makeReady(message: BrokeredMessage): void {
    if (message.state !== 'active') return
    this.#dispatcher.ready(message)
    if (this.#dispatchPending) return
    this.#dispatchPending = true
    queueMicrotask(() => this.dispatch())
  }

  #lock(message: BrokeredMessage, owner: LockOwner | undefined): void {
    message.lock = { id: this.#context.newLockId(), lockedUntilMs: this.#dispatcher.lockedUntil(message), owner }
    this.#locked.set(message.lock.id, message)
    this.#dispatcher.locked(message)
    this.contents.updated(message)
  }

  #lockedMessage(lockId: number): BrokeredMessage {
    const message = this.#locked.get(lockId)
    if (message?.lock !== undefined && message.lock.lockedUntilMs > this.now()) return message
    throw this.sessions === undefined ? messageLockLost() : sessionLockLost(message?.sessionId ?? '')
  }

  #unlock(lockId: number): BrokeredMessage {
    const message = this.#lockedMessage(lockId)
    this.#dropLock(message)
    return message
  }

  #dropLock(message: BrokeredMessage): BrokeredMessage['lock'] {
    const lock = message.lock
    if (lock === undefined) return undefined
    message.lock = undefined
    this.#locked.delete(lock.id)
    this.#dispatcher.unlocked(message, lock.id)
    return lock
  }

  #deliveryEnded(message: BrokeredMessage): void {
    message.deliveryCount++
    if (message.expiresAtMs <= this.now()) this.#expire(message)
    else if (message.deliveryCount >= this.properties.maxDeliveryCount) {
      const description = `Message could not be consumed after ${message.deliveryCount} delivery attempts.`
      this.#moveToDeadLetters(message, { reason: 'MaxDeliveryCountExceeded', description })
    } else {
      this.contents.updated(message)
      this.#makeReady(message)
    }
  }

  #expireIfOver(sequenceNumber: number): void {
    const message = this.contents.get(sequenceNumber)
    if (message !== undefined && message.lock === undefined && message.expiresAtMs <= this.now()) this.#expire(message)
  }

  #expire(message: BrokeredMessage): void {
    if (this.properties.deadLetterOnExpiration) this.#moveToDeadLetters(message, expired)
    else this.contents.remove(message)
  }

  #moveToDeadLetters(message: BrokeredMessage, cause: DeadLetterCause): void {
    this.contents.remove(message)
    const changes: PropertyChanges = new Map()
    if (cause.reason !== undefined) changes.set('DeadLetterReason', encodeString(cause.reason))
    if (cause.description !== undefined) changes.set('DeadLetterErrorDescription', encodeString(cause.description))
    const bare = changeApplicationProperties(message.bare, changes)
    if (this.deadLetters !== undefined) this.deadLetters.#adopt({ ...message, bare })
  }

  #change(message: BrokeredMessage, changes: PropertyChanges | undefined): void {
    if (changes !== undefined && changes.size > 0)
      this.contents.rewrite(message, changeApplicationProperties(message.bare, changes))
  }
}
