import type { Clock } from '../clock.ts'
import { BrokerError, messageLockLost, notAllowed, sessionLockLost } from '../broker-error.ts'
import type { BrokeredMessage } from '../service-bus/brokered-message.ts'
import type { ReceiveMode } from '../service-bus/consumer.ts'
import { encodeDelivery } from '../service-bus/encode-delivery.ts'
import { deliveryTag } from '../service-bus/lock-token.ts'
import type { MessageQueue } from '../service-bus/message-queue.ts'
import type { SessionHolder } from '../service-bus/session-dispatcher.ts'
import type { Journal } from '../store/journal.ts'
import type { FaultPlan } from '../control/fault-plan.ts'
import { OutgoingLink } from './outgoing-link.ts'
import { readOutcome } from './read-outcome.ts'
import type { RheaDelivery, RheaSender, TypedValue } from './rhea-internals.ts'

type Parts = {
  sender: RheaSender
  queue: MessageQueue
  mode: ReceiveMode
  journal: Journal
  faults: FaultPlan
  clock: Clock
}

/** A client's receiver on a queue: deliveries out, settlements in. */
export class ConsumerLink implements SessionHolder {
  readonly mode: ReceiveMode
  readonly #link: OutgoingLink
  readonly #queue: MessageQueue
  readonly #journal: Journal
  readonly #faults: FaultPlan
  readonly #unsettled = new Map<number, RheaDelivery>()
  /** The session this link holds. */
  #sessionId: string | undefined
  #onGranted: ((sessionId: string, lockedUntilMs: number) => void) | undefined
  #closed = false

  constructor({ sender, queue, mode, journal, faults, clock }: Parts) {
    this.mode = mode
    this.#queue = queue
    this.#journal = journal
    this.#faults = faults
    this.#link = new OutgoingLink(sender)
    sender.onDisposition = (delivery, state, settled) => {
      const delayMs = faults.delayMs('settle', queue.path)
      if (delayMs > 0) clock.after(delayMs, () => this.#settle(delivery, state, settled))
      else this.#settle(delivery, state, settled)
    }
    sender.on('sender_flow', () => this.#flow())
  }

  /** Competes for the queue's messages. */
  consume(): void {
    this.#queue.plain?.addConsumer(this)
    this.#queue.dispatch()
  }

  /** Locks the named session. @throws BrokerError session-cannot-be-locked */
  acceptSession(sessionId: string): number {
    const lockedUntilMs = this.#queue.sessions?.accept(sessionId, this) ?? 0
    this.#sessionId = sessionId
    return lockedUntilMs
  }

  /** Waits for the next free session. `stopWaiting` ends the wait. */
  acceptNextSession(onGranted: (sessionId: string, lockedUntilMs: number) => void): void {
    this.#onGranted = onGranted
    this.#queue.sessions?.acceptNext(this)
  }

  stopWaiting(): boolean {
    return this.#queue.sessions?.stopWaiting(this) ?? false
  }

  granted(sessionId: string, lockedUntilMs: number): void {
    this.#sessionId = sessionId
    this.#onGranted?.(sessionId, lockedUntilMs)
  }

  capacity(): number {
    return this.#closed ? 0 : this.#link.capacity
  }

  deliver(message: BrokeredMessage): void {
    const payload = encodeDelivery(message, this.#queue.contents.bareOf(message))
    const lockId = message.lock?.id
    this.#link.reserve()
    this.#journal.afterCommit(() => {
      this.#link.release()
      if (this.#closed) return
      if (lockId === undefined) {
        this.#link.send(payload, undefined, true)
        return
      }
      const delivery = this.#link.send(payload, deliveryTag(lockId), false)
      delivery.lockId = lockId
      this.#unsettled.set(lockId, delivery)
    })
  }

  lockLost(lockId: number): void {
    const delivery = this.#unsettled.get(lockId)
    if (delivery === undefined) return
    this.#unsettled.delete(lockId)
    this.#link.forget(delivery)
  }

  sessionLockLost(): void {
    const sessionId = this.#sessionId ?? ''
    this.#sessionId = undefined
    this.close(sessionLockLost(sessionId))
  }

  close(error?: BrokerError): void {
    this.#link.close(error)
    this.detached()
  }

  /** The link is gone. Locked messages stay locked until they are settled through $management or their locks end; a session is given up. */
  detached(): void {
    if (this.#closed) return
    this.#closed = true
    this.#queue.plain?.removeConsumer(this)
    this.#queue.sessions?.stopWaiting(this)
    if (this.#sessionId !== undefined) this.#queue.sessions?.release(this.#sessionId, this)
    for (const lockId of this.#unsettled.keys()) this.#queue.disown(lockId)
    this.#unsettled.clear()
    this.#queue.dispatch()
  }

  #flow(): void {
    if (this.#sessionId !== undefined) this.#queue.sessions?.credited(this.#sessionId)
    this.#queue.dispatch()
    if (this.#link.sender._draining) this.#journal.afterCommit(() => this.#link.drain())
  }

  #settle(delivery: RheaDelivery, state: TypedValue | undefined, settled: boolean): void {
    const { lockId } = delivery
    if (lockId === undefined || state === undefined) return
    try {
      this.#faults.check('settle', this.#queue.path)
      const outcome = this.#apply(lockId, state)
      this.#unsettled.delete(lockId)
      this.#journal.afterCommit(() => (settled ? this.#link.forget(delivery) : this.#link.confirm(delivery, outcome)))
    } catch (error) {
      this.#unsettled.delete(lockId)
      if (settled) this.#link.forget(delivery)
      else this.#link.reject(delivery, error instanceof BrokerError ? error : messageLockLost())
    }
  }

  #apply(lockId: number, state: TypedValue): 'accepted' | 'rejected' | 'released' | 'modified' {
    const outcome = readOutcome(state)
    if (outcome.kind === 'accepted') this.#queue.complete(lockId)
    else if (outcome.kind === 'released') this.#queue.abandon(lockId)
    else if (outcome.kind === 'rejected') this.#queue.deadLetter(lockId, outcome.cause, outcome.changes)
    else if (outcome.kind === 'modified' && outcome.undeliverableHere) this.#queue.defer(lockId, outcome.changes)
    else if (outcome.kind === 'modified') this.#queue.abandon(lockId, outcome.changes)
    else throw notAllowed('The delivery state is not an outcome.')
    return outcome.kind
  }
}
