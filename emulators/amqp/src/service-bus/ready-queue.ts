import { DeadlineHeap } from '../deadline-heap.ts'

/**
 * Sequence numbers of messages that can be delivered, lowest first. New messages arrive in order and cost nothing to
 * sort; the few that come back (abandoned, lock lost) wait in a heap beside them.
 */
export class ReadyQueue {
  #fresh: number[] = []
  #head = 0
  readonly #returned = new DeadlineHeap()

  get size(): number {
    return this.#fresh.length - this.#head + this.#returned.size
  }

  push(sequenceNumber: number): void {
    const last = this.#fresh[this.#fresh.length - 1]
    if (this.#head === this.#fresh.length || last === undefined || last < sequenceNumber)
      this.#fresh.push(sequenceNumber)
    else this.#returned.push(sequenceNumber, sequenceNumber)
  }

  /** The lowest number without taking it. */
  peek(): number | undefined {
    const fresh = this.#fresh[this.#head]
    if (this.#returned.size > 0 && (fresh === undefined || this.#returned.earliest < fresh))
      return this.#returned.earliest
    return fresh
  }

  take(): number | undefined {
    const next = this.peek()
    if (next === undefined) return undefined
    if (this.#returned.size > 0 && this.#returned.earliest === next) this.#returned.pop()
    else this.#advance()
    return next
  }

  #advance(): void {
    this.#head++
    if (this.#head === this.#fresh.length) {
      this.#fresh = []
      this.#head = 0
    } else if (this.#head > 4096 && this.#head * 2 > this.#fresh.length) {
      this.#fresh = this.#fresh.slice(this.#head)
      this.#head = 0
    }
  }
}
