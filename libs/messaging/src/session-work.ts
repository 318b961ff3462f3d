import type { ServiceBusReceivedMessage, ServiceBusSessionReceiver } from '@azure/service-bus'
import { AppError } from '@sluice/errors'
import { type Clock, type Slot, sleep, withDeadline } from '@sluice/resilience'
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
import type { Release, Settlement } from './settlement.ts'
import { isLockLost } from './translate-error.ts'

interface SessionWorkOptions {
  handle: (delivery: Delivery, signal: AbortSignal) => Promise<Settlement | Release>
  handlerDeadlineMs: number
  idleMs: number
  holdMs: number
  turn: number
  /** How many sessions may be kept back without a slot. */
  maxHeld: () => number
  clock: Clock
  logger: Logger
  metrics: ReturnType<typeof createLoopMetrics>
}

const closeDeadlineMs = 5_000

/** What happens to one session from its acceptance until it is given back: see {@link SessionWork.run}. */
export class SessionWork {
  readonly #options: SessionWorkOptions
  readonly #renewer: LockRenewer
  readonly #lockDuration = new LockDuration()
  readonly #handlers = new Bag<RunningHandler>()
  #suspended = new AbortController()
  #held = 0

  constructor(options: SessionWorkOptions) {
    this.#options = options
    this.#renewer = new LockRenewer(options.clock)
  }

  /**
   * Keeps the session's lock and works on its messages, the next one when the one before is settled. Nothing is known of
   * the next message before that, so none is overtaken.
   */
  async run(session: ServiceBusSessionReceiver, slot: Slot): Promise<void> {
    const { turn, logger } = this.#options
    const lock = new HeldLock()
    const letGo = this.#keepLock(session, lock)
    try {
      let goOn = true
      for (let done = 0; goOn && done < turn && !this.#suspended.signal.aborted && !lock.lost; done++) {
        const [message] = await this.#next(session)
        goOn = message !== undefined && (await this.#workOn(session, message, lock, slot))
      }
    } catch (err) {
      if (!isLockLost(err) && !this.#suspended.signal.aborted) logger.warn({ err }, 'a session was given up')
    } finally {
      letGo()
      slot.release()
      await this.#close(session)
    }
  }

  /** No further message, and no waiting: what is in hand is finished. */
  suspend(): void {
    this.#suspended.abort()
  }

  resume(): void {
    this.#suspended = new AbortController()
  }

  abortHandlers(reason: AppError): void {
    for (const { controller } of this.#handlers.members) controller.abort(reason)
  }

  stopRenewals(): void {
    this.#renewer.stop()
  }

  #next(session: ServiceBusSessionReceiver): Promise<ServiceBusReceivedMessage[]> {
    // Not aborted by a suspension: what arrives while the SDK takes its credit back would be locked and lost to sight
    // until the session is closed. It waits for a second at most.
    return session.receiveMessages(1, { maxWaitTimeInMs: this.#options.idleMs })
  }

  /** @returns whether to go on with the session's next message */
  async #workOn(
    session: ServiceBusSessionReceiver,
    message: ServiceBusReceivedMessage,
    lock: HeldLock,
    slot: Slot,
  ): Promise<boolean> {
    const { metrics } = this.#options
    metrics.received.inc()
    metrics.inFlight.inc()
    try {
      const settlement = await handleMessage(message, lock, this.#handlers, this.#options)
      if (lock.lost || settlement.kind === 'untouched') {
        metrics.settled(lock.lost ? 'lost' : 'untouched')
        return false
      }
      if (settlement.kind === 'release' || settlement.kind === 'retry') {
        slot.release()
        await this.#hold(settlement.afterMs, lock)
      }
      if (settlement.kind === 'release') {
        metrics.settled('untouched')
        return false
      }
      const settled = await this.#settle(session, message, settlement, lock)
      return settled && settlement.kind !== 'retry'
    } finally {
      metrics.inFlight.dec()
    }
  }

  /** The session stays locked, so that nobody tries again what has just been tried. */
  async #hold(afterMs: number, lock: HeldLock): Promise<void> {
    const { holdMs, maxHeld, clock } = this.#options
    if (this.#held >= maxHeld() || afterMs <= 0) return
    const woken = new AbortController()
    const signal = AbortSignal.any([woken.signal, this.#suspended.signal])
    lock.onLost = () => woken.abort()
    this.#held++
    await sleep(Math.min(afterMs, holdMs), { signal, clock }).catch(() => undefined)
    this.#held--
    lock.onLost = undefined
  }

  async #settle(
    session: ServiceBusSessionReceiver,
    message: ServiceBusReceivedMessage,
    settlement: Settlement,
    lock: HeldLock,
  ): Promise<boolean> {
    const { clock, logger, metrics } = this.#options
    try {
      const settled = await settle(message, settlement, { receiver: session, clock, gate: new OutcomeGate(), lock })
      metrics.settled(settled ? settlement.kind : 'lost')
      return settled
    } catch (err) {
      metrics.settled('failed')
      logger.error({ err, messageId: message.messageId, settlement: settlement.kind }, 'could not settle')
      return false
    }
  }

  #keepLock(session: ServiceBusSessionReceiver, lock: HeldLock): () => void {
    const { clock } = this.#options
    return this.#renewer.keep({
      remainingMs: this.#lockDuration.remainingMs(session.sessionLockedUntilUtc, clock.now()),
      renew: async () => {
        const askedAt = clock.now()
        return this.#lockDuration.remainingMs(await session.renewSessionLock(), askedAt)
      },
      lost: (error) => lock.lose(error),
    })
  }

  async #close(session: ServiceBusSessionReceiver): Promise<void> {
    const { clock, logger } = this.#options
    const late = () => new AppError('queue_unavailable', 'the broker does not answer')
    await withDeadline(closeDeadlineMs, undefined, () => session.close(), late, clock).catch((err: unknown) =>
      logger.debug({ err }, 'a session was not closed cleanly; its lock runs out'),
    )
  }
}
