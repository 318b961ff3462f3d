import { AppError } from '@sluice/errors'
import type { ParkedRow, Parking } from '@sluice/parking'
import { type Clock, type Slot, type SlotSource, sleep, withDeadline } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'

export interface DispatcherOptions {
  parking: Parking
  /** The lanes whose rows are dispatched, and where their slots come from. */
  slots: ReadonlyMap<string, SlotSource>
  handle: (row: ParkedRow, because: 'turn' | 'expired' | 'purged', signal: AbortSignal) => Promise<void>
  handlerDeadlineMs: number
  /** Fills an index that lost its memory; false when somebody else does. */
  rebuild: () => Promise<boolean>
  /** How often the index is asked although nothing is known to wait: what others parked is noticed so. 500 ms unless given. */
  idleMs?: number | undefined
  /** Told whenever something was heard of the lanes. */
  heard: () => void
  clock: Clock
  logger: Logger
}

const shortestPauseMs = 5
const awayMs = 1_000
const afterAbortMs = 2_000

/**
 * Works off the index: takes slots of the lanes in which something waits, asks for the row whose turn it is, and runs it
 * in its lane's slot. It takes slots before receivers do. When there is nothing to try it sleeps until admission said
 * that there will be room, or something is parked, and for half a second at most.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions
  readonly #idleMs: number
  readonly #stopping = new AbortController()
  readonly #aborting = new AbortController()
  readonly #running = new Set<Promise<void>>()
  #loop: Promise<void> = Promise.resolve()
  #nap: { untilMs: number; end: AbortController } | undefined
  #heardMs = -Infinity
  #away = false
  #rebuilding: Promise<void> | undefined

  constructor(options: DispatcherOptions) {
    this.#options = options
    this.#idleMs = options.idleMs ?? 500
  }

  start(): void {
    this.#loop = this.#run()
  }

  /** Something may be there to try, `inMs` from now. */
  wake(inMs: number): void {
    const nap = this.#nap
    if (nap === undefined) return
    const { clock } = this.#options
    if (clock.monotonic() + inMs >= nap.untilMs) return
    if (inMs <= 0) return nap.end.abort()
    nap.untilMs = clock.monotonic() + inMs
    clock.setTimeout(() => nap.end.abort(), inMs)
  }

  /** Stops asking, then waits for what runs; at the deadline that is aborted and goes back to the index. */
  async stop(deadlineMs: number): Promise<void> {
    const { clock } = this.#options
    const endMs = clock.monotonic() + deadlineMs
    this.#stopping.abort(new AppError('shutting_down', 'nothing is dispatched any more'))
    await this.#loop
    await this.#rebuilding
    if (await this.#idleWithin(endMs - clock.monotonic())) return
    this.#aborting.abort(new AppError('shutting_down', 'the deadline of the drain has passed'))
    await this.#idleWithin(afterAbortMs)
  }

  async #run(): Promise<void> {
    const { parking, heard, logger, clock } = this.#options
    while (!this.#stopping.signal.aborted) {
      const slots = await this.#takeSlots()
      try {
        const next = await parking.next([...slots.keys()])
        if (this.#away) logger.info({}, 'the parking index answers again')
        this.#away = false
        if (!parking.view.known) this.#rebuild()
        if (next.kind === 'row') {
          await this.#dispatch(next.row, next.because, slots)
          if (clock.monotonic() - this.#heardMs < this.#idleMs) continue
          await parking.look()
        }
        this.#heardMs = clock.monotonic()
        heard()
        for (const slot of slots.values()) slot.release()
        if (next.kind === 'none') await this.#sleep(Math.min(next.wakeInMs ?? this.#idleMs, this.#idleMs))
      } catch (err) {
        if (!this.#away) logger.warn({ err }, 'the parking index does not answer')
        this.#away = true
        parking.view.lost()
        for (const slot of slots.values()) slot.release()
        await this.#sleep(awayMs)
      }
    }
  }

  /** A slot of each lane in which something waits. Where there is none to be had, whichever comes first. */
  async #takeSlots(): Promise<Map<string, Slot>> {
    const { parking, slots } = this.#options
    const taken = new Map<string, Slot>()
    const waiting = [...slots].filter(([lane]) => parking.view.lane(lane).rows > 0 && !parking.view.lane(lane).paused)
    for (const [lane, source] of waiting) {
      const slot = source.tryAcquire()
      if (slot !== undefined) taken.set(lane, slot)
    }
    if (taken.size > 0 || waiting.length === 0) return taken
    const enough = new AbortController()
    const signal = AbortSignal.any([enough.signal, this.#stopping.signal])
    const timer = this.#options.clock.setTimeout(() => enough.abort(), this.#idleMs)
    await Promise.all(
      waiting.map(async ([lane, source]) => {
        const slot = await source.acquire(signal, { first: true }).catch(() => undefined)
        if (slot !== undefined) taken.set(lane, slot)
        enough.abort()
      }),
    )
    timer.cancel()
    return taken
  }

  /** In the row's own slot; what is only to be ended needs none, and is done before anything else. */
  async #dispatch(row: ParkedRow, because: 'turn' | 'expired' | 'purged', slots: Map<string, Slot>): Promise<void> {
    const slot = slots.get(row.lane)
    slots.delete(row.lane)
    for (const other of slots.values()) other.release()
    slots.clear()
    const done = this.#handle(row, because).finally(() => {
      slot?.release()
      this.#running.delete(done)
    })
    this.#running.add(done)
    if (slot === undefined) await done
  }

  async #handle(row: ParkedRow, because: 'turn' | 'expired' | 'purged'): Promise<void> {
    const { handle, handlerDeadlineMs, clock, logger } = this.#options
    const overrun = new AbortController()
    const late = () => overrun.abort(new AppError('deadline_exceeded', 'the handler overran its deadline'))
    const timer = clock.setTimeout(late, handlerDeadlineMs)
    try {
      await handle(row, because, AbortSignal.any([overrun.signal, this.#aborting.signal]))
    } catch (err) {
      logger.error({ err, requestId: row.id, tenant: row.tenant }, 'a parked request was left where it was')
    } finally {
      timer.cancel()
    }
  }

  #rebuild(): void {
    const { rebuild, logger } = this.#options
    this.#rebuilding ??= rebuild()
      .then(
        () => undefined,
        (err: unknown) => logger.warn({ err }, 'the parking index could not be rebuilt yet'),
      )
      .finally(() => (this.#rebuilding = undefined))
  }

  async #sleep(ms: number): Promise<void> {
    const { clock } = this.#options
    const end = new AbortController()
    const forMs = Math.max(shortestPauseMs, ms)
    this.#nap = { untilMs: clock.monotonic() + forMs, end }
    await sleep(forMs, { signal: AbortSignal.any([end.signal, this.#stopping.signal]), clock }).catch(() => undefined)
    this.#nap = undefined
  }

  async #idleWithin(ms: number): Promise<boolean> {
    const idle = Promise.all(this.#running).then(() => true)
    const late = () => new AppError('shutting_down', 'requests still run')
    return withDeadline(Math.max(0, ms), undefined, () => idle, late, this.#options.clock).catch(() => false)
  }
}
