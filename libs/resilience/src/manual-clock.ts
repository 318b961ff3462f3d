import type { Clock, Timer } from './clock.ts'

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  #now: number
  #elapsedMs = 0
  #order = 0
  readonly #timers = new Map<object, { dueMs: number; order: number; fn: () => void }>()

  /** @param startMs the wall time at the beginning, in epoch milliseconds */
  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#now = startMs
  }

  now(): number {
    return this.#now + this.#elapsedMs
  }

  monotonic(): number {
    return this.#elapsedMs
  }

  setTimeout(fn: () => void, ms: number): Timer {
    const timer = { cancel: () => void this.#timers.delete(timer) }
    this.#timers.set(timer, { dueMs: this.#elapsedMs + Math.max(0, ms), order: this.#order++, fn })
    return timer
  }

  /** Timers that have neither run nor been cancelled: zero at the end of a test that leaks none. */
  get pending(): number {
    return this.#timers.size
  }

  /** Moves the wall time alone, as a clock correction does; timers and `monotonic` do not notice. */
  jumpWallTime(ms: number): void {
    this.#now += ms
  }

  /**
   * Lets `ms` milliseconds pass. Due timers run in order of their due time, and before each one the promises that the
   * one before it settled get a turn, so a timer that re-arms itself fires as often as it would have in real time.
   */
  async advance(ms: number): Promise<void> {
    const endMs = this.#elapsedMs + ms
    for (;;) {
      await settle()
      const due = this.#nextDue(endMs)
      if (due === undefined) break
      this.#timers.delete(due.timer)
      this.#elapsedMs = Math.max(this.#elapsedMs, due.dueMs)
      due.fn()
    }
    this.#elapsedMs = endMs
    await settle()
  }

  #nextDue(endMs: number) {
    let next: { timer: object; dueMs: number; order: number; fn: () => void } | undefined
    for (const [timer, entry] of this.#timers) {
      if (entry.dueMs > endMs) continue
      const earlier = !next || entry.dueMs < next.dueMs || (entry.dueMs === next.dueMs && entry.order < next.order)
      if (earlier) next = { timer, ...entry }
    }
    return next
  }
}

// A macrotask runs only when the microtask queue is empty, that is when every promise chain has gone as far as it can.
const settle = () => new Promise<void>((resolve) => setImmediate(resolve))
