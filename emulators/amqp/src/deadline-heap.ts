/** A binary min-heap of (time, key) pairs. Holds numbers only, so an entry that lost its meaning retains nothing. */
export class DeadlineHeap {
  readonly #times: number[] = []
  readonly #keys: number[] = []

  get size(): number {
    return this.#times.length
  }

  /** The earliest time; `Infinity` when empty. */
  get earliest(): number {
    return this.#times[0] ?? Infinity
  }

  push(timeMs: number, key: number): void {
    let at = this.#times.length
    this.#times.push(timeMs)
    this.#keys.push(key)
    while (at > 0) {
      const parent = (at - 1) >>> 1
      if (!this.#before(at, parent)) break
      this.#swap(at, parent)
      at = parent
    }
  }

  /** Removes the earliest entry and returns its key. */
  pop(): number | undefined {
    const key = this.#keys[0]
    const lastTime = this.#times.pop()
    const lastKey = this.#keys.pop()
    if (this.#times.length === 0 || lastTime === undefined || lastKey === undefined) return key
    this.#times[0] = lastTime
    this.#keys[0] = lastKey
    this.#sink()
    return key
  }

  #sink(): void {
    for (let at = 0; ;) {
      const left = 2 * at + 1
      let least = at
      if (left < this.#times.length && this.#before(left, least)) least = left
      if (left + 1 < this.#times.length && this.#before(left + 1, least)) least = left + 1
      if (least === at) return
      this.#swap(at, least)
      at = least
    }
  }

  // Equal times come out in the order of their keys, which for sequence numbers is the order of arrival.
  #before(a: number, b: number): boolean {
    const [timeA, timeB] = [this.#times[a] ?? Infinity, this.#times[b] ?? Infinity]
    return timeA < timeB || (timeA === timeB && (this.#keys[a] ?? 0) < (this.#keys[b] ?? 0))
  }

  #swap(a: number, b: number): void {
    const [time, key] = [this.#times[a] ?? 0, this.#keys[a] ?? 0]
    this.#times[a] = this.#times[b] ?? 0
    this.#keys[a] = this.#keys[b] ?? 0
    this.#times[b] = time
    this.#keys[b] = key
  }
}
