import type { Clock, Timer } from '@sluice/resilience'

/** Something in flight that must not stand still for ever. */
export interface Watched {
  /** @param now the clock's monotonic time */
  check(now: number): void
}

/**
 * Looks at everything in flight four times a second. A stream touches a number where a timer of its own would be set
 * and cancelled with each chunk; what it costs is that limits are kept to a quarter of a second.
 */
export class ForwardWatch {
  readonly #clock: Clock
  readonly #watched = new Set<Watched>()
  #looking: Timer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#watched.size
  }

  [Symbol.iterator](): IterableIterator<Watched> {
    return [...this.#watched].values()
  }

  add(one: Watched): void {
    this.#watched.add(one)
    if (this.#looking === undefined) this.#looking = this.#clock.setTimeout(this.#look, everyMs)
  }

  delete(one: Watched): void {
    this.#watched.delete(one)
  }

  // A timer per burst, not per call: it goes on while there is anything to look at, and once more after that.
  readonly #look = (): void => {
    this.#looking = undefined
    const now = this.#clock.monotonic()
    for (const one of this.#watched) one.check(now)
    if (this.#watched.size > 0) this.#looking = this.#clock.setTimeout(this.#look, everyMs)
  }
}

const everyMs = 250
