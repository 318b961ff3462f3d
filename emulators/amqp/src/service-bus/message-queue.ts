import { messageLockLost, messageNotFound, notAllowed, sessionLockLost } from '../broker-error.ts'
import type { BrokerContext } from '../broker-context.ts'
import { encodeString } from '../amqp/encode.ts'
import { changeApplicationProperties, type PropertyChanges } from './application-properties.ts'
import type { BrokeredMessage, LockOwner } from './brokered-message.ts'
import type { Consumer } from './consumer.ts'
import type { DispatchedQueue, Dispatcher } from './dispatcher.ts'
import { deadLetterProperties, type EntityProperties } from './entity-properties.ts'
import { placeMessage, type MessageDraft, type Route } from './message-draft.ts'
import { LockTable } from './lock-table.ts'
import { PlainDispatcher } from './plain-dispatcher.ts'
import { QueueContents } from './queue-contents.ts'
import { QueueDeadlines } from './queue-deadlines.ts'
import { QueueIntake } from './queue-intake.ts'
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
  readonly openedAtMs: number
  /** When something was last sent to it or received from it. */
  accessedAtMs: number
  readonly #context: BrokerContext
  readonly #dispatcher: Dispatcher
  readonly #locks: LockTable
  readonly #deadlines: QueueDeadlines
  readonly #intake: QueueIntake
  #dispatchPending = false

  constructor(context: BrokerContext, path: string, properties: EntityProperties, isDeadLetterQueue = false) {
    this.#context = context
    this.path = path
    this.properties = properties
    this.contents = new QueueContents(context, path)
    this.openedAtMs = this.accessedAtMs = context.clock.now()
    if (properties.requiresSession) this.#dispatcher = this.sessions = new SessionDispatcher(this)
    else this.#dispatcher = this.plain = new PlainDispatcher(this)
    this.#locks = new LockTable(context, this.#dispatcher)
    if (!isDeadLetterQueue)
      this.deadLetters = new MessageQueue(context, `${path}/$DeadLetterQueue`, deadLetterProperties(properties), true)
    this.#deadlines = new QueueDeadlines(context, {
      due: (sequenceNumber) => this.#intake.activate(sequenceNumber),
      expired: (sequenceNumber) => this.#expireIfOver(sequenceNumber),
      sweep: (now) => this.#dispatcher.sweep(now),
      nextDeadline: () => this.#dispatcher.nextDeadline(),
    })
    const makeReady = (message: BrokeredMessage): void => this.#makeReady(message)
    this.#intake = new QueueIntake({
      context,
      path,
      properties,
      contents: this.contents,
      deadlines: this.#deadlines,
      makeReady,
    })
  }

  /** Where messages go that do not stay here: set on topics and where forwarding is configured. */
  set route(route: Route) {
    this.#intake.route = route
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
    this.accessedAtMs = this.now()
    return this.#intake.publish(drafts)
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
    const lockedUntilMs = this.#locks.renew(message)
    this.contents.updated(message)
    return lockedUntilMs
  }

  /** Ends every lock at once, as the service may do at any time. @returns how many there were */
  loseLocks(): number {
    const sessions = this.sessions?.loseLocks() ?? 0
    const locks = this.#locks.all()
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
      if (removes) this.contents.take(message)
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
    this.accessedAtMs = this.now()
    if (consumer.mode === 'receive-and-delete') this.contents.take(message)
    else this.#lock(message, consumer)
  }

  expireLock(message: BrokeredMessage): void {
    const lock = this.#locks.unlock(message)
    this.#deliveryEnded(message)
    lock?.owner?.lockLost(lock.id)
  }

  releaseLock(message: BrokeredMessage): void {
    this.#locks.unlock(message)
    this.contents.updated(message)
    this.#makeReady(message)
  }

  saveSessionLock(sessionId: string, lockedUntilMs: number | undefined): void {
    this.#context.journal.saveSessionLock(this.contents.entity, sessionId, lockedUntilMs)
  }

  /** The link that holds the lock is gone; the lock stays. */
  disown(lockId: number): void {
    this.#locks.disown(lockId)
  }

  deadlineChanged(): void {
    this.#deadlines.arm()
  }

  /** Puts back a message of an earlier run. In a session its lock ends with the session's, whatever it was when it was written. */
  restore(message: BrokeredMessage): void {
    this.contents.restore(message)
    if (message.expiresAtMs < Infinity) this.#deadlines.expires(message.expiresAtMs, message.sequenceNumber)
    if (message.state === 'scheduled') this.#deadlines.schedule(message.scheduledAtMs ?? 0, message.sequenceNumber)
    if (message.lock !== undefined && this.sessions !== undefined) {
      if (this.sessions.isHeld(message.sessionId ?? ''))
        message.lock.lockedUntilMs = this.#dispatcher.lockedUntil(message)
      else message.lock = undefined
    }
    if (message.lock !== undefined) this.#locks.restore(message)
    else if (message.state === 'active') this.#dispatcher.ready(message)
  }

  restoreDuplicate(messageId: string, untilMs: number): void {
    this.#intake.restoreDuplicate(messageId, untilMs)
  }

  #makeReady(message: BrokeredMessage): void {
    if (message.state !== 'active') return
    this.#dispatcher.ready(message)
    if (this.#dispatchPending) return
    this.#dispatchPending = true
    queueMicrotask(() => this.dispatch())
  }

  #lock(message: BrokeredMessage, owner: LockOwner | undefined): void {
    this.#locks.lock(message, owner)
    this.contents.updated(message)
  }

  #lockedMessage(lockId: number): BrokeredMessage {
    const message = this.#locks.find(lockId)
    if (message !== undefined) return message
    throw this.sessions === undefined ? messageLockLost() : sessionLockLost('')
  }

  #unlock(lockId: number): BrokeredMessage {
    const message = this.#lockedMessage(lockId)
    this.#locks.unlock(message)
    return message
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
    const bare = changeApplicationProperties(this.contents.take(message).bare, causeProperties(cause))
    if (this.deadLetters !== undefined) this.deadLetters.#intake.adopt({ ...message, bare, bareBytes: bare.length })
  }

  #change(message: BrokeredMessage, changes: PropertyChanges | undefined): void {
    if (changes !== undefined && changes.size > 0)
      this.contents.rewrite(message, changeApplicationProperties(this.contents.bareOf(message), changes))
  }
}

const causeProperties = ({ reason, description }: DeadLetterCause): PropertyChanges => {
  const changes: PropertyChanges = new Map()
  if (reason !== undefined) changes.set('DeadLetterReason', encodeString(reason))
  if (description !== undefined) changes.set('DeadLetterErrorDescription', encodeString(description))
  return changes
}
