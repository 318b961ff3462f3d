import { createBudgets } from '@sluice/admission'
import type { PlatformConfig } from '@sluice/contracts'
import type { Ledger, Outbox } from '@sluice/ledger'
import type { Sender } from '@sluice/messaging'
import { type Clock, SlotPool } from '@sluice/resilience'
import type { Blobs, Cosmos } from '@sluice/storage'
import type { Logger, Metrics } from '@sluice/telemetry'
import type { Redis } from 'ioredis'
import type { BatchContext } from './advance-batch.ts'
import { createBatchMetrics } from './batch-metrics.ts'
import { type BatchRunner, createBatchRunner } from './batch-runner.ts'
import { createBatchStore } from './batch-store.ts'
import { createCharges } from './charges.ts'
import { createEnqueued } from './enqueued.ts'
import { createFileStore } from './file-store.ts'
import { createLineRows } from './line-rows.ts'
import { createPacker, type Packer } from './packer.ts'
import { createProvider } from './provider.ts'
import { createRegionHealth } from './region-health.ts'

export interface BatchingOptions {
  cosmos: Cosmos
  blobs: Blobs
  redis: Redis
  ledger: Ledger
  outbox: Outbox
  /** Topic `results`. */
  topic: Pick<Sender, 'send'>
  /** The lanes' senders by name, for lines that go online. */
  lanes: ReadonlyMap<string, Pick<Sender, 'send'>>
  /** The lane of lines that came in a file. */
  bulkLane: string
  platform: PlatformConfig
  clock: Clock
  logger: Logger
  metrics: Metrics
  /** Names this process in rows, for people who read them. */
  owner: string
  /** Lines on their way to the ledger and the lanes at a time. */
  inFlight?: number
  /** For how long the holder of a row need not show that it is alive. */
  leaseMs?: number
  /** From 0 to 1; drawn where load is spread. */
  random?: () => number
}

/** What a batch worker runs. */
export interface Batching {
  runner: BatchRunner
  packer: Packer
  /** Drops reserved tokens that no part holds; every minute or so. @throws AppError `storage_unavailable` */
  reconcile(): Promise<void>
  close(): Promise<void>
}

const transfersAtOnce = 3

export function createBatching(options: BatchingOptions): Batching {
  const { cosmos, blobs, redis, platform, clock, logger, topic, ledger, random = Math.random } = options
  const store = createBatchStore({ cosmos, clock })
  const provider = createProvider({ deployments: platform.deployments })
  const enqueued = createEnqueued({ redis, store })
  const budgets = createBudgets({ redis, cosmos, clock, logger })
  const charges = createCharges({ budgets, logger })
  const takingBatches = platform.deployments.filter(({ batch }) => batch !== undefined)
  const context: BatchContext = {
    ...{ platform, store, blobs, provider, enqueued, charges, clock, logger, topic, random },
    files: createFileStore({ cosmos }),
    health: createRegionHealth({ redis, clock }),
    rows: createLineRows(options),
    metrics: createBatchMetrics(options.metrics),
    transfers: new SlotPool(transfersAtOnce),
  }
  return {
    runner: createBatchRunner(context, options.owner, options.leaseMs),
    packer: createPacker({ ledger, store, platform, clock, logger, lanes: options.lanes }),
    reconcile: () => enqueued.reconcile(takingBatches),
    async close() {
      await charges.settled()
      await Promise.all([provider.close(), budgets.close()])
    },
  }
}
