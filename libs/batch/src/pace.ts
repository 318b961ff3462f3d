import { type Clock, sleep } from '@sluice/resilience'

/** Lets work go on at a steady rate, after a burst that needs no wait. */
export class Pace {
  readonly #clock: Clock
  readonly #perSecond: number
  readonly #startMs: number
  #count: number

  constructor(clock: Clock, perSecond: number, burst: number) {
    this.#clock = clock
    this.#perSecond = perSecond
    this.#startMs = clock.monotonic()
    this.#count = -burst
  }

  /** Resolves when the next piece may begin. @throws the signal's reason when it aborts first */
  async next(signal: AbortSignal): Promise<void> {
    const dueMs = this.#startMs + (this.#count++ / this.#perSecond) * 1_000
    const waitMs = dueMs - this.#clock.monotonic()
    if (waitMs > 0) await sleep(waitMs, { signal, clock: this.#clock })
  }
}
