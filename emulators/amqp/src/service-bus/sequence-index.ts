/** Sequence numbers in ascending order, for peeking from any of them. Removed numbers are skipped and compacted away later. */
export class SequenceIndex {
  #numbers: number[] = []
  #sorted = true
  #removed = 0

  add(sequenceNumber: number): void {
    const last = this.#numbers[this.#numbers.length - 1]
    if (last !== undefined && last > sequenceNumber) this.#sorted = false
    this.#numbers.push(sequenceNumber)
  }

  /** Notes a removal; `isPresent` decides what survives a compaction. */
  remove(isPresent: (sequenceNumber: number) => boolean): void {
    this.#removed++
    if (this.#removed > 1024 && this.#removed * 2 > this.#numbers.length) {
      this.#numbers = this.#numbers.filter(isPresent)
      this.#removed = 0
    } else if (this.#removed >= this.#numbers.length) {
      this.#numbers = []
      this.#removed = 0
      this.#sorted = true
    }
  }

  /** Numbers from `from` upwards, removed ones included. */
  *from(from: number): Generator<number> {
    if (!this.#sorted) {
      this.#numbers.sort((a, b) => a - b)
      this.#sorted = true
    }
    let low = 0
    for (let high = this.#numbers.length; low < high;) {
      const middle = (low + high) >>> 1
      if ((this.#numbers[middle] ?? 0) < from) low = middle + 1
      else high = middle
    }
    for (let at = low; at < this.#numbers.length; at++) yield this.#numbers[at] ?? 0
  }
}
