import type { Clock } from './clock.ts'
import type { Scheduler } from './scheduler.ts'
import type { Journal } from './store/journal.ts'
import type { MemoryRelease } from './store/memory-release.ts'

/** What every entity of one namespace shares. */
export type BrokerContext = {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly journal: Journal
  readonly memory: MemoryRelease
  newLockId(): number
  newRowId(): number
}
