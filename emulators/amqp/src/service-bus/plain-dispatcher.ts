import type { BrokeredMessage } from './brokered-message.ts'
import type { Consumer } from './consumer.ts'
import type { DispatchedQueue, Dispatcher } from './dispatcher.ts'
import { ReadyQueue } from './ready-queue.ts'

/** Competing consumers: the lowest sequence number goes to the next consumer in turn that has capacity. */
export class PlainDispatcher implements Dispatcher {
  readonly #queue: DispatchedQueue
  readonly #ready = new ReadyQueue()
  readonly #consumers: Consumer[] = []
  #turn = 0
  // Every lock has the same duration and a renewal moves its entry to the end, so insertion order is expiry order.
  readonly #locks = new Map<number, BrokeredMessage>()

  constructor(queue: DispatchedQueue) {
    this.#queue = queue
  }

  addConsumer(consumer: Consumer): void {
    this.#consumers.push(consumer)
  }

  removeConsumer(consumer: Consumer): void {
    const at = this.#consumers.indexOf(consumer)
    if (at >= 0) this.#consumers.splice(at, 1)
  }

  ready(message: BrokeredMessage): void {
    this.#ready.push(message.sequenceNumber)
  }

  dispatch(): void {
    while (this.#ready.size > 0) {
      const consumer = this.#nextConsumer()
      if (consumer === undefined) return
      const message = this.#takeAvailable()
      if (message === undefined) return
      this.#queue.assign(message, consumer)
      consumer.deliver(message)
    }
  }

  locked(message: BrokeredMessage): void {
    if (message.lock === undefined) return
    this.#locks.delete(message.lock.id)
    this.#locks.set(message.lock.id, message)
    if (this.#locks.size === 1) this.#queue.deadlineChanged()
  }

  unlocked(_message: BrokeredMessage, lockId: number): void {
    this.#locks.delete(lockId)
  }

  sweep(now: number): void {
    for (const message of this.#locks.values()) {
      if (message.lock !== undefined && message.lock.lockedUntilMs > now) return
      this.#queue.expireLock(message)
    }
  }

  nextDeadline(): number {
    for (const message of this.#locks.values()) return message.lock?.lockedUntilMs ?? Infinity
    return Infinity
  }

  lockedUntil(): number {
    return this.#queue.now() + this.#queue.lockDurationMs
  }

  #takeAvailable(): BrokeredMessage | undefined {
    for (let next = this.#ready.take(); next !== undefined; next = this.#ready.take()) {
      const message = this.#queue.available(next)
      if (message !== undefined) return message
    }
    return undefined
  }

  #nextConsumer(): Consumer | undefined {
    const count = this.#consumers.length
    for (let tried = 0; tried < count; tried++) {
      const consumer = this.#consumers[this.#turn++ % count]
      if (consumer !== undefined && consumer.capacity() > 0) return consumer
    }
    return undefined
  }
}
