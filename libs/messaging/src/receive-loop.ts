import type { ServiceBusReceivedMessage, ServiceBusReceiver } from '@azure/service-bus'
import { AppError } from '@sluice/errors'
import { type Clock, type Slot, type SlotPool, sleep, systemClock, withDeadline } from '@sluice/resilience'
import type { Logger, Metrics } from '@sluice/telemetry'
import { type Delivery, toDelivery } from './delivery.ts'
import { HeldLock } from './held-lock.ts'
import { LockDuration } from './lock-duration.ts'
import { LockRenewer } from './lock-renewer.ts'
import { createLoopMetrics } from './loop-metrics.ts'
import { OutcomeGate } from './outcome-gate.ts'
import { Outage } from './outage.ts'
import { createReceiver, ReceiveLink, type ReceiveSource } from './receive-link.ts'
import { runHandler } from './run-handler.ts'
import type { ServiceBus } from './service-bus.ts'
import { settle } from './settle.ts'
import { retry, type Settlement, settlementOf, type Untouched } from './settlement.ts'
import { forgetLostLink } from './streaming-internals.ts'
import { translateServiceBus } from './translate-error.ts'

export type ReceiveLoopOptions = ReceiveSource & {
  serviceBus: ServiceBus
  /** Bounds the messages in flight. It may be shared: at most half of it is held in readiness for messages. */
  pool: SlotPool
  /** Decides about one delivery. What it throws is turned into a settlement by the error's disposition. */
  handle: (delivery: Delivery, signal: AbortSignal) => Promise<Settlement>
  /** After which the handler's signal aborts with `deadline_exceeded`. */
  handlerDeadlineMs: number
  /** The longest that a message given back by `retry` is kept locked; see {@link Settlement}. 5 s unless given. */
  retryHoldMs?: number
  logger: Logger
  metrics: Metrics
  clock?: Clock
}

export type ReceiveLoopState = 'starting' | 'running' | 'paused' | 'draining' | 'stopped'

const afterAbortMs = 2000
const closeDeadlineMs = 2000

/**
 * Receives from one queue or subscription, and for every delivery does the same five things in the same order: a slot, a
 * lock that is kept, a handler, one settlement, the slot back.
 *
 *   starting ──► running ◄──► paused
 *      │            │            │
 *      └────────────┴─► draining ◄┘ ──► stopped
 *
 * starting  nothing received yet
 * running   receiving; each credit at the broker stands for a slot that is already taken
 * paused    credits and their slots given back; handlers go on
 * draining  what still arrives is abandoned; handlers finish, and are aborted at the deadline
 * stopped   nothing in flight, no lock renewed, links closed
 *
 * There is no failed state: what keeps the loop from receiving is tried again for ever and reported by `check`.
 *
 * Three things end separately. Receiving ends with `pause` and `drain`. A handler is aborted by its own deadline, by the
 * loss of its lock or by the deadline of the drain. A settlement is aborted by nothing: it is tried for as long as the
 * lock holds, and never more than one is decided for a lock.
 */
export class ReceiveLoop {
  #state: ReceiveLoopState = 'starting'
  readonly #options: ReceiveLoopOptions
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #metrics: ReturnType<typeof createLoopMetrics>
  readonly #link: ReceiveLink
  /** Settles and renews. Not the link's own receiver, which can be closed while messages are in flight. */
  readonly #settler: ServiceBusReceiver
  readonly #renewer: LockRenewer
  readonly #gate = new OutcomeGate()
  readonly #lockDuration = new LockDuration()
  readonly #outage: Outage
  readonly #inFlight = new Map<ServiceBusReceivedMessage, Promise<void>>()
  readonly #handlers = new Set<AbortController>()
  readonly #draining = new AbortController()
  #held = 0
  #drained: Promise<void> | undefined

  constructor(options: ReceiveLoopOptions) {
    const { serviceBus, pool, metrics, clock = systemClock } = options
    const entity = 'queue' in options ? options.queue : `${options.topic}/${options.subscription}`
    this.#options = options
    this.#clock = clock
    this.#logger = options.logger.child({ entity })
    this.#metrics = createLoopMetrics(metrics, entity)
    this.#renewer = new LockRenewer(clock)
    this.#outage = new Outage(clock, this.#logger)
    this.#settler = createReceiver(serviceBus, options)
    this.#link = new ReceiveLink({
      receiver: createReceiver(serviceBus, options),
      pool,
      deliver: (message, slot) => this.#deliver(message, slot),
      failed: (error) => this.#outage.failed(error),
      attached: () => this.#attached(),
    })
  }

  get state(): ReceiveLoopState {
    return this.#state
  }

  /** Begins to receive; a broker that cannot be reached is waited for. */
  start(): void {
    if (this.#enter('running', 'starting')) this.#link.open()
  }

  /** Stops receiving until `resume`; resolves when no further message can come. */
  async pause(): Promise<void> {
    if (this.#enter('paused', 'running')) await this.#suspend()
  }

  resume(): void {
    if (this.#enter('running', 'paused')) this.#link.open()
  }

  /** For readiness. @throws AppError `queue_unavailable` while the broker does not let this loop receive */
  async check(): Promise<void> {
    if (this.#outage.error !== undefined) throw translateServiceBus(this.#outage.error, 'receive')
  }

  /**
   * Stops for good: receiving, then handlers and their settlements, then renewals, then links. Handlers get `deadlineMs`,
   * and two seconds more to settle after they were aborted; what is still in flight then comes again when its lock ends.
   */
  drain(deadlineMs: number): Promise<void> {
    this.#drained ??= this.#drain(deadlineMs)
    return this.#drained
  }

  async #drain(deadlineMs: number): Promise<void> {
    this.#enter('draining', 'starting', 'running', 'paused')
    const endMs = this.#clock.monotonic() + deadlineMs
    await this.#suspend()
    // Not before the credit is back: what is given back would be delivered to this loop again.
    this.#draining.abort()
    if (!(await this.#idleWithin(endMs - this.#clock.monotonic()))) {
      const reason = new AppError('shutting_down', 'the deadline of the drain has passed')
      for (const handler of this.#handlers) handler.abort(reason)
      const idle = await this.#idleWithin(afterAbortMs)
      if (!idle) this.#logger.warn({ inFlight: this.#inFlight.size }, 'stopped with deliveries in flight')
    }
    this.#renewer.stop()
    await this.#bounded(() => Promise.all([this.#link.close(), this.#settler.close()]))
    this.#enter('stopped', 'draining')
  }

  /** The one place where the state changes. @returns false, changing nothing, when it is none of `from` */
  #enter(state: ReceiveLoopState, ...from: ReceiveLoopState[]): boolean {
    if (!from.includes(this.#state)) return false
    this.#state = state
    this.#logger.info({ state }, 'receive loop')
    return true
  }

  #attached(): void {
    this.#outage.over()
    for (const message of this.#inFlight.keys()) forgetLostLink(message)
  }

  #deliver(message: ServiceBusReceivedMessage, slot: Slot): void {
    this.#metrics.received.inc()
    this.#metrics.inFlight.inc()
    const work = this.#work(message, slot).finally(() => {
      slot.release()
      this.#metrics.inFlight.dec()
      this.#inFlight.delete(message)
    })
    this.#inFlight.set(message, work)
  }

  async #work(message: ServiceBusReceivedMessage, slot: Slot): Promise<void> {
    const lock = new HeldLock()
    const release = this.#keepLock(message, lock)
    try {
      const settlement = this.#state === 'draining' ? retry(0) : await this.#handle(message, lock)
      if (settlement.kind === 'retry') await this.#hold(settlement.afterMs, slot, lock)
      this.#metrics.settled(await this.#settle(message, settlement, lock))
    } finally {
      release()
    }
  }

  async #handle(message: ServiceBusReceivedMessage, lock: HeldLock): Promise<Settlement | Untouched> {
    const delivery = toDelivery(message)
    const { handle, handlerDeadlineMs: deadlineMs } = this.#options
    const startMs = this.#clock.monotonic()
    try {
      const limits = { lock, deadlineMs, clock: this.#clock, running: this.#handlers }
      return await runHandler((signal) => handle(delivery, signal), limits)
    } catch (err) {
      const settlement = settlementOf(err, delivery.deliveryCount)
      this.#logger.warn({ err, messageId: delivery.messageId, settlement: settlement.kind }, 'the handler failed')
      return settlement
    } finally {
      this.#metrics.handlerSeconds.observe((this.#clock.monotonic() - startMs) / 1000)
    }
  }

  /** Keeps a message that was given back, without its slot as long as fewer are kept than there are slots. */
  async #hold(afterMs: number, slot: Slot, lock: HeldLock): Promise<void> {
    const ms = Math.min(afterMs, this.#options.retryHoldMs ?? 5000)
    if (ms <= 0) return
    if (this.#held < this.#options.pool.size) slot.release()
    this.#held++
    const woken = new AbortController()
    const signal = AbortSignal.any([woken.signal, this.#draining.signal])
    const held = () => sleep(ms, { signal, clock: this.#clock }).catch(() => undefined)
    await lock.during(held, () => woken.abort())
    this.#held--
  }

  /** @returns what became of the message, as the metric names it; a lost lock has no settlement */
  async #settle(message: ServiceBusReceivedMessage, settlement: Settlement | Untouched, lock: HeldLock) {
    if (lock.lost) return 'lost'
    if (settlement.kind === 'untouched') return 'untouched'
    try {
      const how = { receiver: this.#settler, clock: this.#clock, gate: this.#gate, lock }
      const settled = await settle(message, settlement, how)
      return settled ? settlement.kind : 'lost'
    } catch (err) {
      this.#logger.error({ err, messageId: message.messageId, settlement: settlement.kind }, 'could not settle')
      return 'failed'
    }
  }

  #keepLock(message: ServiceBusReceivedMessage, lock: HeldLock): () => void {
    const { lockedUntilUtc, enqueuedTimeUtc } = message
    return this.#renewer.keep({
      remainingMs: this.#lockDuration.remainingMs(lockedUntilUtc, this.#clock.now(), enqueuedTimeUtc),
      renew: async () => {
        const askedAt = this.#clock.now()
        return this.#lockDuration.remainingMs(await this.#settler.renewMessageLock(message), askedAt)
      },
      lost: (error) => lock.lose(error),
    })
  }

  async #idleWithin(ms: number): Promise<boolean> {
    const idle = Promise.all(this.#inFlight.values()).then(() => true)
    return withDeadline(Math.max(0, ms), undefined, () => idle, notYet, this.#clock).catch(() => false)
  }

  #suspend(): Promise<unknown> {
    return this.#bounded(() => this.#link.suspend())
  }

  // A broker that is away must not hold up the end: what it is not told, it finds out by itself.
  #bounded(close: () => Promise<unknown>): Promise<unknown> {
    return withDeadline(closeDeadlineMs, undefined, close, notYet, this.#clock).catch((err: unknown) =>
      this.#logger.warn({ err }, 'link not closed cleanly'),
    )
  }
}

/** A loop that begins to receive at `start`. */
export const receiveLoop = (options: ReceiveLoopOptions): ReceiveLoop => new ReceiveLoop(options)

const notYet = () => new AppError('queue_unavailable', 'the broker does not answer')
