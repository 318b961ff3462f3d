/**
 * Utilisation of a provisioned deployment: a leaky bucket that holds one minute of its capacity. A call is refused
 * while the bucket is full, else its estimate is poured in, so that a burst may end just over 100 %; when the call
 * ends, the estimate is corrected to what it used.
 */
export class PtuBucket {
  #level = 0
  #at: number

  constructor(now: number) {
    this.#at = now
  }

  /** Share of the capacity in use, 1 being 100 %. */
  utilisation(capacityPerMinute: number, now: number): number {
    this.#leak(capacityPerMinute, now)
    return this.#level / capacityPerMinute
  }

  /** Milliseconds until utilisation is below 100 %; 0 when it is. */
  waitMs(capacityPerMinute: number, now: number): number {
    this.#leak(capacityPerMinute, now)
    const over = this.#level - capacityPerMinute
    return over < 0 ? 0 : Math.floor((over / capacityPerMinute) * 60_000) + 1
  }

  pour(tokens: number, capacityPerMinute: number, now: number): void {
    this.#leak(capacityPerMinute, now)
    this.#level += tokens
  }

  correct(estimated: number, actual: number, capacityPerMinute: number, now: number): void {
    this.#leak(capacityPerMinute, now)
    this.#level = Math.max(0, this.#level + actual - estimated)
  }

  #leak(capacityPerMinute: number, now: number): void {
    const leaked = ((now - this.#at) / 60_000) * capacityPerMinute
    this.#level = Math.max(0, this.#level - leaked)
    this.#at = now
  }
}
