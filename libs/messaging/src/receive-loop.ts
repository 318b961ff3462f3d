import type { ServiceBusReceivedMessage, ServiceBusReceiver } from '@azure/service-bus'
import { AppError } from '@sluice/errors'
import { type Clock, type Slot, type SlotSource, systemClock, withDeadline } from '@sluice/resilience'
import type { Logger, Metrics } from '@sluice/telemetry'
import { Bag, type Placed } from './bag.ts'
import type { Delivery } from './delivery.ts'
import { DeliveryWork } from './delivery-work.ts'
import { createLoopMetrics } from './loop-metrics.ts'
import { Outage } from './outage.ts'
import { createReceiver, ReceiveLink, type ReceiveSource } from './receive-link.ts'
import type { ServiceBus } from './service-bus.ts'
import type { Settlement } from './settlement.ts'
import { forgetLostLink } from './streaming-internals.ts'
import { translateServiceBus } from './translate-error.ts'

export type ReceiveLoopOptions = ReceiveSource & {
  serviceBus: ServiceBus
  /** Bounds the messages in flight. It may be shared: at most half of it is held in readiness for messages. */
  pool: SlotSource
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

interface InFlight extends Placed {
  message: ServiceBusReceivedMessage
  done: Promise<void>
}

const afterAbortMs = 2000
const closeDeadlineMs = 2000

/**
 * Receives from one queue or subscription, and does the same with every delivery, in the same order: a slot, a lock that
 * is kept, a handler, one settlement, the slot back.
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
 *
 * Sessions need another link, which accepts and renews a session instead of a message; nothing here knows the difference.
 */
export class ReceiveLoop {
  #state: ReceiveLoopState = 'starting'
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #metrics: ReturnType<typeof createLoopMetrics>
  readonly #outage: Outage
  readonly #link: ReceiveLink
  readonly #settler: ServiceBusReceiver
  readonly #work: DeliveryWork
  readonly #inFlight = new Bag<InFlight>()
  #drained: Promise<void> | undefined

  constructor(options: ReceiveLoopOptions) {
    const { serviceBus, pool, handle, handlerDeadlineMs, retryHoldMs = 5000, clock = systemClock } = options
    const entity = 'queue' in options ? options.queue : `${options.topic}/${options.subscription}`
    const logger = options.logger.child({ entity })
    const metrics = createLoopMetrics(options.metrics, entity)
    this.#clock = clock
    this.#logger = logger
    this.#metrics = metrics
    this.#outage = new Outage(clock, logger)
    this.#settler = createReceiver(serviceBus, options)
    const own = { receiver: this.#settler, maxHeld: () => pool.size, clock, logger, metrics }
    this.#work = new DeliveryWork({ ...own, handle, handlerDeadlineMs, retryHoldMs })
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
    const endMs = this.#clock.monotonic() + deadlineMs
    this.#enter('draining', 'starting', 'running', 'paused')
    await this.#suspend()
    // Not before the credit is back: what is given back would be delivered to this loop again.
    this.#work.endHolds()
    if (!(await this.#idleWithin(endMs - this.#clock.monotonic()))) {
      this.#work.abortHandlers(new AppError('shutting_down', 'the deadline of the drain has passed'))
      const idle = await this.#idleWithin(afterAbortMs)
      if (!idle) this.#logger.warn({ inFlight: this.#inFlight.members.length }, 'stopped with deliveries in flight')
    }
    this.#work.stopRenewals()
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
    for (const { message } of this.#inFlight.members) forgetLostLink(message)
  }

  #deliver(message: ServiceBusReceivedMessage, slot: Slot): void {
    this.#metrics.received.inc()
    this.#metrics.inFlight.inc()
    const inFlight: InFlight = { message, done: Promise.resolve(), place: -1 }
    this.#inFlight.add(inFlight)
    inFlight.done = this.#runToEnd(inFlight, slot)
  }

  async #runToEnd(inFlight: InFlight, slot: Slot): Promise<void> {
    try {
      const ending = this.#state === 'draining' || this.#state === 'stopped'
      await (ending ? this.#work.giveBack(inFlight.message) : this.#work.run(inFlight.message, slot))
    } finally {
      slot.release()
      this.#metrics.inFlight.dec()
      this.#inFlight.delete(inFlight)
    }
  }

  async #idleWithin(ms: number): Promise<boolean> {
    const idle = Promise.all(this.#inFlight.members.map(({ done }) => done)).then(() => true)
    return withDeadline(Math.max(0, ms), undefined, () => idle, noAnswer, this.#clock).catch(() => false)
  }

  #suspend(): Promise<unknown> {
    return this.#bounded(() => this.#link.suspend())
  }

  // A broker that is away must not hold up the end: what it is not told, it finds out by itself.
  #bounded(close: () => Promise<unknown>): Promise<unknown> {
    return withDeadline(closeDeadlineMs, undefined, close, noAnswer, this.#clock).catch((err: unknown) =>
      this.#logger.warn({ err }, 'link not closed cleanly'),
    )
  }
}

/** A loop that begins to receive at `start`. */
export const receiveLoop = (options: ReceiveLoopOptions): ReceiveLoop => new ReceiveLoop(options)

const noAnswer = () => new AppError('queue_unavailable', 'the broker does not answer')
