import type { ServiceBusReceivedMessage, ServiceBusReceiver } from '@azure/service-bus'
import type { AppError } from '@sluice/errors'
import { type Clock, type Slot, sleep } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import { Bag } from './bag.ts'
import type { Delivery } from './delivery.ts'
import { HeldLock } from './held-lock.ts'
import { LockDuration } from './lock-duration.ts'
import { LockRenewer } from './lock-renewer.ts'
import type { createLoopMetrics } from './loop-metrics.ts'
import { OutcomeGate } from './outcome-gate.ts'
import { handleMessage, type RunningHandler } from './run-handler.ts'
import { settle } from './settle.ts'
import { retry, type Settlement, type Untouched } from './settlement.ts'

interface DeliveryWorkOptions {
  /** Settles and renews. Not the link's own receiver, which can be closed while messages are in flight. */
  receiver: ServiceBusReceiver
  handle: (delivery: Delivery, signal: AbortSignal) => Promise<Settlement>
  handlerDeadlineMs: number
  retryHoldMs: number
  /** How many messages may wait for their retry without a slot. */
  maxHeld: () => number
  clock: Clock
  logger: Logger
  metrics: ReturnType<typeof createLoopMetrics>
}

/** What happens to one delivery from its arrival to its settlement, the same for each: see {@link DeliveryWork.run}. */
export class DeliveryWork {
  readonly #options: DeliveryWorkOptions
  readonly #renewer: LockRenewer
  readonly #lockDuration = new LockDuration()
  readonly #gate = new OutcomeGate()
  readonly #handlers = new Bag<RunningHandler>()
  readonly #closing = new AbortController()
  #held = 0

  constructor(options: DeliveryWorkOptions) {
    this.#options = options
    this.#renewer = new LockRenewer(options.clock)
  }

  /**
   * Keeps the lock, runs the handler, carries out its one settlement. A lost lock has no settlement.
   * @param slot released early by a message that waits for its retry
   */
  async run(message: ServiceBusReceivedMessage, slot: Slot): Promise<void> {
    const lock = new HeldLock()
    const release = this.#keepLock(message, lock)
    try {
      const settlement = await handleMessage(message, lock, this.#handlers, this.#options)
      if (settlement.kind === 'retry') await this.#hold(settlement.afterMs, slot, lock)
      await this.#settle(message, settlement, lock)
    } finally {
      release()
    }
  }

  /** For a message that arrives when there is nobody to handle it. */
  giveBack(message: ServiceBusReceivedMessage): Promise<void> {
    return this.#settle(message, retry(0), new HeldLock())
  }

  /** Ends the waits for retries; their messages are given back now. */
  endHolds(): void {
    this.#closing.abort()
  }

  abortHandlers(reason: AppError): void {
    for (const { controller } of this.#handlers.members) controller.abort(reason)
  }

  /** Locks that are still held run out on their own. */
  stopRenewals(): void {
    this.#renewer.stop()
  }

  async #hold(afterMs: number, slot: Slot, lock: HeldLock): Promise<void> {
    const { retryHoldMs, maxHeld, clock } = this.#options
    const ms = Math.min(afterMs, retryHoldMs)
    if (ms <= 0 || lock.lost) return
    // With as many held as there are slots the next keeps its own: a failing dependency must not fill the memory.
    if (this.#held < maxHeld()) slot.release()
    this.#held++
    const woken = new AbortController()
    const signal = AbortSignal.any([woken.signal, this.#closing.signal])
    lock.onLost = () => woken.abort()
    await sleep(ms, { signal, clock }).catch(() => undefined)
    lock.onLost = undefined
    this.#held--
  }

  async #settle(message: ServiceBusReceivedMessage, settlement: Settlement | Untouched, lock: HeldLock): Promise<void> {
    const { receiver, clock, logger, metrics } = this.#options
    if (lock.lost) return metrics.settled('lost')
    if (settlement.kind === 'untouched') return metrics.settled('untouched')
    try {
      const settled = await settle(message, settlement, { receiver, clock, gate: this.#gate, lock })
      metrics.settled(settled ? settlement.kind : 'lost')
    } catch (err) {
      metrics.settled('failed')
      logger.error({ err, messageId: message.messageId, settlement: settlement.kind }, 'could not settle')
    }
  }

  #keepLock(message: ServiceBusReceivedMessage, lock: HeldLock): () => void {
    const { receiver, clock } = this.#options
    return this.#renewer.keep({
      remainingMs: this.#lockDuration.remainingMs(message.lockedUntilUtc, clock.now(), message.enqueuedTimeUtc),
      renew: async () => {
        const askedAt = clock.now()
        return this.#lockDuration.remainingMs(await receiver.renewMessageLock(message), askedAt)
      },
      lost: (error) => lock.lose(error),
    })
  }
}
