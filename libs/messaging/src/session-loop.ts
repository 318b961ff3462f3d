import type { ServiceBusSessionReceiver } from '@azure/service-bus'
import { AppError } from '@sluice/errors'
import {
  type Clock,
  fullJitter,
  type Slot,
  type SlotSource,
  sleep,
  systemClock,
  withDeadline,
} from '@sluice/resilience'
import type { Logger, Metrics } from '@sluice/telemetry'
import type { Delivery } from './delivery.ts'
import { createLoopMetrics } from './loop-metrics.ts'
import { Outage } from './outage.ts'
import type { ServiceBus } from './service-bus.ts'
import { SessionWork } from './session-work.ts'
import type { Release, Settlement } from './settlement.ts'
import { isNoSession, translateServiceBus } from './translate-error.ts'

export interface SessionLoopOptions {
  /**
   * A connection of its own: told to give up a link that is only being made, the SDK closes the connection under
   * everybody who shares it, and an accept that waits for a session is such a link.
   */
  serviceBus: ServiceBus
  /** With RequiresSession. */
  queue: string
  /** Bounds the sessions that are worked on. */
  slots: SlotSource
  handle: (delivery: Delivery, signal: AbortSignal) => Promise<Settlement | Release>
  /** For one message. */
  handlerDeadlineMs: number
  /** A session without a message for this long is given back. 1 s unless given. */
  idleMs?: number
  /** The longest that a session is kept from everybody after `release` or `retry`. 5 s unless given. */
  holdMs?: number
  /** Messages after which a session goes to the end of the line of sessions. 50 unless given. */
  turn?: number
  logger: Logger
  metrics: Metrics
  clock?: Clock
}

type State = 'starting' | 'running' | 'paused' | 'draining' | 'stopped'

const acceptBackoff = fullJitter({ baseMs: 200, capMs: 5_000 })
const afterAbortMs = 2_000
const closeDeadlineMs = 2_000

/**
 * Works on the sessions of a queue: as many at a time as there are slots, each one's messages first in, first out, one at
 * a time. The states are those of the receive loop. A slot is taken before a session is accepted, so no session is held
 * for which there is none; an idle queue costs one slot, for the accept that waits.
 *
 *   accept ──► message ──► handler ──► settled ──► next message … until the session is idle, or its turn is over
 *                             │
 *                             └── release, retry: the slot goes back, the session a moment later
 *
 * The session's lock is what keeps the order: it is renewed while the session is held, and the handler is aborted when it
 * is lost, because then somebody else begins with the same message.
 */
export class SessionLoop {
  #state: State = 'starting'
  readonly #options: SessionLoopOptions
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #outage: Outage
  readonly #work: SessionWork
  readonly #sessions = new Set<Promise<void>>()
  #receiving = new AbortController()
  #accepting: Promise<void> = Promise.resolve()
  #drained: Promise<void> | undefined

  constructor(options: SessionLoopOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#logger = options.logger.child({ entity: options.queue })
    this.#outage = new Outage(this.#clock, this.#logger)
    this.#work = new SessionWork({
      handle: options.handle,
      handlerDeadlineMs: options.handlerDeadlineMs,
      idleMs: options.idleMs ?? 1_000,
      holdMs: options.holdMs ?? 5_000,
      turn: options.turn ?? 50,
      maxHeld: () => 4 * options.slots.size,
      clock: this.#clock,
      logger: this.#logger,
      metrics: createLoopMetrics(options.metrics, options.queue),
    })
  }

  start(): void {
    if (this.#enter('running', 'starting')) this.#receive()
  }

  /** Accepts no session until `resume`; those at work end with the message in hand. */
  async pause(): Promise<void> {
    if (this.#enter('paused', 'running')) this.#suspend()
  }

  resume(): void {
    if (this.#enter('running', 'paused')) this.#receive()
  }

  /** For readiness. @throws AppError `queue_unavailable` while the broker does not let this loop accept sessions */
  async check(): Promise<void> {
    if (this.#outage.error !== undefined) throw translateServiceBus(this.#outage.error, 'accept a session')
  }

  /** Stops for good: accepting, then handlers, then sessions. What is not settled comes again, at the same place. */
  drain(deadlineMs: number): Promise<void> {
    this.#drained ??= this.#drain(deadlineMs)
    return this.#drained
  }

  async #drain(deadlineMs: number): Promise<void> {
    const endMs = this.#clock.monotonic() + deadlineMs
    this.#enter('draining', 'starting', 'running', 'paused')
    this.#suspend()
    if (!(await this.#idleWithin(endMs - this.#clock.monotonic()))) {
      this.#work.abortHandlers(new AppError('shutting_down', 'the deadline of the drain has passed'))
      const idle = await this.#idleWithin(afterAbortMs)
      if (!idle) this.#logger.warn({ sessions: this.#sessions.size }, 'stopped with sessions in hand')
    }
    this.#work.stopRenewals()
    this.#enter('stopped', 'draining')
  }

  #enter(state: State, ...from: State[]): boolean {
    if (!from.includes(this.#state)) return false
    this.#state = state
    this.#logger.info({ state }, 'session loop')
    return true
  }

  #receive(): void {
    const receiving = new AbortController()
    this.#receiving = receiving
    this.#work.resume()
    // One accept at a time, the one before has to be over: two would race for the first session.
    this.#accepting = this.#accepting.then(() => this.#acceptAll(receiving.signal))
  }

  #suspend(): void {
    this.#receiving.abort(new AppError('shutting_down', 'no session is accepted any more'))
    this.#work.suspend()
  }

  async #acceptAll(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted;) {
      const slot = await this.#options.slots.acquire(signal).catch(() => undefined)
      if (slot === undefined) return
      try {
        const session = await this.#accept(signal)
        failures = 0
        this.#outage.over()
        if (session !== undefined && !signal.aborted) this.#begin(session, slot)
        else {
          slot.release()
          await this.#giveBack(session)
        }
      } catch (error) {
        slot.release()
        if (signal.aborted) return
        this.#outage.failed(error)
        await sleep(acceptBackoff(++failures), { signal, clock: this.#clock }).catch(() => undefined)
      }
    }
  }

  /**
   * An accept that is under way cannot be taken back: the SDK heeds its abortSignal between attempts only (7.9.5), and
   * each takes up to five seconds. So nobody waits for it at the end; what it still brings is given back unopened.
   * @returns undefined when there was none to be had for a while
   */
  async #accept(signal: AbortSignal): Promise<ServiceBusSessionReceiver | undefined> {
    const { serviceBus, queue } = this.#options
    try {
      return await serviceBus.client.acceptNextSession(queue, {
        receiveMode: 'peekLock',
        // The SDK's renewal ends for good with its first failure, and counts from its own clock.
        maxAutoLockRenewalDurationInMs: 0,
        skipParsingBodyAsJson: true,
        abortSignal: signal,
      })
    } catch (error) {
      if (isNoSession(error)) return undefined
      throw error
    }
  }

  async #giveBack(session: ServiceBusSessionReceiver | undefined): Promise<void> {
    const late = () => new AppError('queue_unavailable', 'the broker does not answer')
    await withDeadline(closeDeadlineMs, undefined, async () => session?.close(), late, this.#clock).catch(
      () => undefined,
    )
  }

  #begin(session: ServiceBusSessionReceiver, slot: Slot): void {
    const done = this.#work.run(session, slot).finally(() => this.#sessions.delete(done))
    this.#sessions.add(done)
  }

  async #idleWithin(ms: number): Promise<boolean> {
    const idle = Promise.all(this.#sessions).then(() => true)
    const late = () => new AppError('queue_unavailable', 'sessions are still in hand')
    return withDeadline(Math.max(0, ms), undefined, () => idle, late, this.#clock).catch(() => false)
  }
}
