import type { TwinDatabase } from './files/twin-database.ts'
import { numberOf, objectOf } from './json-fields.ts'
import type { VirtualClock } from './virtual-clock.ts'

const toleranceMs = 1_000

/**
 * Keeps how far the virtual clock is ahead of its source beside the rows whose times it made: after a restart a batch
 * would else have been created in the future.
 */
export class PersistedClock {
  readonly #clock: VirtualClock
  readonly #source: () => number
  readonly #database: TwinDatabase
  #savedLeadMs = 0

  constructor(clock: VirtualClock, source: () => number, database: TwinDatabase) {
    this.#clock = clock
    this.#source = source
    this.#database = database
    const leadMs = numberOf(objectOf(database.all('clock')[0])['leadMs']) ?? 0
    if (leadMs > 0) clock.advance(leadMs)
    this.#savedLeadMs = leadMs
  }

  /** Stores the lead when it has changed by more than the tolerance. */
  save(): void {
    const leadMs = this.#clock.now() - this.#source()
    if (Math.abs(leadMs - this.#savedLeadMs) < toleranceMs) return
    this.#database.put('clock', 'lead', { leadMs })
    this.#savedLeadMs = leadMs
  }
}
