import type { Clock } from './clock.ts'
import type { Scheduler } from './scheduler.ts'
import type { Journal } from './store/journal.ts'

/** What every entity of one namespace shares. */
export type BrokerContext = {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly journal: Journal
  newLockId(): number
  newRowId(): number
}
