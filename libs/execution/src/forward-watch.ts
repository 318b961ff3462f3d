import type { Clock, Timer } from '@sluice/resilience'

/** Something in flight that must not stand still for ever. */
export interface Watched {
  /** The watch's own: where it stands in its list. */
  watchedAt: number
  /** @param now the clock's monotonic time */
  check(now: number): void
}

/**
 * Looks at everything in flight four times a second. A stream touches a number where a timer of its own would be set
 * and cancelled with each chunk; what it costs is that limits are kept to a quarter of a second.
 *
 * A plain list, because V8's Set and Map are not for what comes and goes: a table that was replaced points to its
 * successor and still holds what it held, so one that has grown old keeps every later one, and all calls that were ever
 * in them, until the next full collection.
 */
export class ForwardWatch {
  readonly #clock: Clock
  readonly #watched: Watched[] = []
  #looking: Timer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#watched.length
  }

  [Symbol.iterator](): IterableIterator<Watched> {
    return [...this.#watched].values()
  }

  add(one: Watched): void {
    one.watchedAt = this.#watched.push(one) - 1
    if (this.#looking === undefined) this.#looking = this.#clock.setTimeout(this.#look, everyMs)
  }

  delete(one: Watched): void {
    if (this.#watched[one.watchedAt] !== one) return
    const last = this.#watched.pop() as Watched
    if (last === one) return
    this.#watched[one.watchedAt] = last
    last.watchedAt = one.watchedAt
  }

  // A timer per burst, not per call: it goes on while there is anything to look at, and once more after that.
  readonly #look = (): void => {
    this.#looking = undefined
    const now = this.#clock.monotonic()
    // A copy: whatever a check ends leaves the list.
    for (const one of [...this.#watched]) one.check(now)
    if (this.#watched.length > 0) this.#looking = this.#clock.setTimeout(this.#look, everyMs)
  }
}

const everyMs = 250
