/** Wall-clock time and timers, injectable so that tests can move it. */
export type Clock = {
  /** Milliseconds since the Unix epoch. */
  now(): number
  /** Runs `run` once `delayMs` have passed; the result cancels it. */
  after(delayMs: number, run: () => void): () => void
}

// setTimeout fires at once for delays beyond 2^31 - 1 ms.
const longestDelayMs = 2 ** 31 - 1

export const systemClock: Clock = {
  now: Date.now,
  after(delayMs, run) {
    const timer = setTimeout(run, Math.min(Math.max(delayMs, 0), longestDelayMs))
    return () => clearTimeout(timer)
  },
}

/** A clock that stands still until `advance` moves it; due timers run in order, each at its own time. */
export class ManualClock implements Clock {
  #now: number
  readonly #timers = new Set<{ atMs: number; run: () => void }>()

  constructor(startMs: number) {
    this.#now = startMs
  }

  now(): number {
    return this.#now
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.#now + Math.max(delayMs, 0), run }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  advance(durationMs: number): void {
    const until = this.#now + durationMs
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.atMs <= until).sort((a, b) => a.atMs - b.atMs)[0]
      if (due === undefined) break
      this.#timers.delete(due)
      this.#now = Math.max(this.#now, due.atMs)
      due.run()
    }
    this.#now = until
  }
}
