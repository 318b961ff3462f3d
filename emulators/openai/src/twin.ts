import type { BatchQueue } from './batches/batch-queue.ts'
import type { CallLog } from './call-log.ts'
import type { ResourceSettings } from './config.ts'
import type { Deployment } from './deployment.ts'
import type { Evictions } from './eviction.ts'
import type { Exchange } from './exchange.ts'
import type { FaultList } from './faults.ts'
import type { FileStore } from './files/file-store.ts'
import type { PromptCache } from './prompt-cache.ts'
import type { ResponseStore } from './response-store.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** One Azure OpenAI resource: its keys and its deployments by name. */
export interface Resource {
  settings: ResourceSettings
  deployments: Map<string, Deployment>
}

/** What a running twin shares between its calls and its batches. */
export interface TwinCore {
  seed: number
  clock: VirtualClock
  resources: Map<string, Resource>
  faults: FaultList
  calls: CallLog
  promptCache: PromptCache
  responses: ResponseStore
  evictions: Evictions
  files: FileStore
  /** Calls that have not ended. */
  open: Set<Exchange>
  /** Request headers that the call log keeps, in lower case. */
  loggedHeaders: readonly string[]
}

export interface Twin extends TwinCore {
  batches: BatchQueue
}
