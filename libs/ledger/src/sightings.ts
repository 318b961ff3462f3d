import type { Observed } from './ledger-types.ts'

interface Sighting {
  mark: string
  sinceMs: number
  round: number
}

/**
 * How long rows have stood still, on the watcher's own monotonic clock: clocks of different machines are never
 * compared. Bounded: when full, rows seen for the first time are left for a later round.
 */
export class Sightings {
  readonly #seen = new Map<string, Sighting>()
  readonly #max: number
  #round = 0

  constructor(max: number) {
    this.#max = max
  }

  /** @returns for how long the row has shown the same fence, beat and status, in milliseconds */
  stoodStillMs(row: Observed, nowMs: number): number {
    const name = `${row.tenant}/${row.id}`
    const mark = `${row.fence}.${row.beat}.${row.status}`
    const before = this.#seen.get(name)
    if (before?.mark === mark) {
      before.round = this.#round
      return nowMs - before.sinceMs
    }
    if (before !== undefined || this.#seen.size < this.#max) {
      this.#seen.set(name, { mark, sinceMs: nowMs, round: this.#round })
    }
    return 0
  }

  /** All rows have been looked at once more: those that did not show up are settled. */
  endRound(): void {
    for (const [name, { round }] of this.#seen) if (round !== this.#round) this.#seen.delete(name)
    this.#round++
  }

  /** Nothing was seen for a while, so nothing is known to have stood still. */
  forget(): void {
    this.#seen.clear()
  }
}
