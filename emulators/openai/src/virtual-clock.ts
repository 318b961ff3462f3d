/**
 * The time that quotas, batches, expiry and fault scripts see, in epoch milliseconds. It follows a source (the
 * machine's clock unless a test injects one) at a settable rate and can be moved forward; it never runs backwards,
 * because a quota window or a batch that un-expires exists nowhere. Latency between tokens stays on real time.
 */
export class VirtualClock {
  readonly #source: () => number
  readonly #listeners = new Set<() => void>()
  #base: number
  #mark: number
  #rate = 1

  constructor(source: () => number = Date.now) {
    this.#source = source
    this.#mark = source()
    this.#base = this.#mark
  }

  get rate(): number {
    return this.#rate
  }

  now(): number {
    return this.#base + (this.#source() - this.#mark) * this.#rate
  }

  advance(ms: number): void {
    if (!(ms >= 0)) throw new RangeError('the clock only moves forward: advanceMs must be 0 or more')
    this.#restart(this.now() + ms)
  }

  /** Moves to an absolute time, in epoch milliseconds, not before the present one. */
  set(epochMs: number): void {
    if (!(epochMs >= this.now())) throw new RangeError('the clock only moves forward: now must not be in its past')
    this.#restart(epochMs)
  }

  /** Virtual milliseconds per real millisecond; 0 freezes time, so that only advance moves it. */
  setRate(rate: number): void {
    if (!(rate >= 0) || rate > 1e6) throw new RangeError('rate must lie between 0 and 1,000,000')
    this.#base = this.now()
    this.#mark = this.#source()
    this.#rate = rate
  }

  /** Calls back after every jump; returns the function that stops it. */
  onJump(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #restart(at: number): void {
    this.#base = at
    this.#mark = this.#source()
    for (const listener of this.#listeners) listener()
  }
}
