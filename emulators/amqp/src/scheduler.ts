import type { Clock } from './clock.ts'
import { DeadlineHeap } from './deadline-heap.ts'

export type Timer = { readonly atMs: number; cancel(): void }

/** All timed work of one emulator behind a single operating-system timer. */
export class Scheduler {
  readonly #clock: Clock
  readonly #heap = new DeadlineHeap()
  readonly #runs = new Map<number, () => void>()
  #nextKey = 1
  #armedFor = Infinity
  #disarm: (() => void) | undefined
  #closed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Runs `run` at `atMs` (wall clock), or in the next turn when that has passed. */
  at(atMs: number, run: () => void): Timer {
    const key = this.#nextKey++
    this.#runs.set(key, run)
    this.#heap.push(atMs, key)
    if (atMs < this.#armedFor) this.#arm()
    return { atMs, cancel: () => this.#runs.delete(key) }
  }

  /** Drops everything still waiting. */
  clear(): void {
    this.#runs.clear()
  }

  close(): void {
    this.#closed = true
    this.#disarm?.()
    this.clear()
  }

  #arm(): void {
    this.#disarm?.()
    this.#disarm = undefined
    this.#armedFor = this.#heap.earliest
    if (this.#closed || this.#armedFor === Infinity) return
    this.#disarm = this.#clock.after(this.#armedFor - this.#clock.now(), () => this.#fire())
  }

  #fire(): void {
    this.#disarm = undefined
    const now = this.#clock.now()
    while (this.#heap.earliest <= now) {
      const key = this.#heap.pop() ?? 0
      const run = this.#runs.get(key)
      this.#runs.delete(key)
      run?.()
    }
    this.#arm()
  }
}
