import type { BatchQueue } from './batches/batch-queue.ts'
import type { CallLog } from './control/call-log.ts'
import type { ResourceSettings } from './config.ts'
import type { Deployment } from './quotas/deployment.ts'
import type { Evictions } from './control/eviction.ts'
import type { FaultList } from './control/faults.ts'
import type { FileStore } from './files/file-store.ts'
import type { PromptCache } from './model/prompt-cache.ts'
import type { ClientSecrets } from './realtime/client-secrets.ts'
import type { ResponseStore } from './inference/response-store.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** One Azure OpenAI resource: its keys and its deployments by name. */
export interface Resource {
  settings: ResourceSettings
  deployments: Map<string, Deployment>
}

/** A call or a session that can be cut from outside. */
interface OpenCall {
  readonly resource: Resource
  readonly deployment: Deployment | undefined
  cut(why: string): void
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
  secrets: ClientSecrets
  /** Calls and sessions that have not ended. */
  open: Set<OpenCall>
  /** Request headers that the call log keeps, in lower case. */
  loggedHeaders: readonly string[]
}

export interface Twin extends TwinCore {
  batches: BatchQueue
}
