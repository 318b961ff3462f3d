import type { BrokerContext } from '../broker-context.ts'
import type { BrokeredMessage, LockOwner, MessageLock } from './brokered-message.ts'
import type { Dispatcher } from './dispatcher.ts'

/** The locked messages of one queue by lock. How long a lock holds is the dispatcher's to say. */
export class LockTable {
  readonly #context: BrokerContext
  readonly #dispatcher: Dispatcher
  readonly #locked = new Map<number, BrokeredMessage>()

  constructor(context: BrokerContext, dispatcher: Dispatcher) {
    this.#context = context
    this.#dispatcher = dispatcher
  }

  lock(message: BrokeredMessage, owner: LockOwner | undefined): void {
    message.lock = { id: this.#context.newLockId(), lockedUntilMs: this.#dispatcher.lockedUntil(message), owner }
    this.restore(message)
  }

  /** Takes in a message that has its lock already. */
  restore(message: BrokeredMessage): void {
    if (message.lock === undefined) return
    this.#locked.set(message.lock.id, message)
    this.#dispatcher.locked(message)
  }

  /** The message, when its lock still holds. A lock is over at its time, even before it has been swept away. */
  find(lockId: number): BrokeredMessage | undefined {
    const message = this.#locked.get(lockId)
    return message?.lock !== undefined && message.lock.lockedUntilMs > this.#context.clock.now() ? message : undefined
  }

  /** @returns the new expiry */
  renew(message: BrokeredMessage): number {
    const lockedUntilMs = this.#dispatcher.lockedUntil(message)
    if (message.lock !== undefined) message.lock.lockedUntilMs = lockedUntilMs
    this.#dispatcher.locked(message)
    return lockedUntilMs
  }

  /** @returns the lock that the message had */
  unlock(message: BrokeredMessage): MessageLock | undefined {
    const { lock } = message
    if (lock === undefined) return undefined
    message.lock = undefined
    this.#locked.delete(lock.id)
    this.#dispatcher.unlocked(message, lock.id)
    return lock
  }

  /** Whoever held the lock is gone; the lock stays. */
  disown(lockId: number): void {
    const lock = this.#locked.get(lockId)?.lock
    if (lock !== undefined) lock.owner = undefined
  }

  all(): BrokeredMessage[] {
    return [...this.#locked.values()]
  }
}
