import type { Clock } from '@sluice/resilience'
import type { Blobs, RowStore } from '@sluice/storage'
import type { Logger } from '@sluice/telemetry'
import type { Row, RowStatus } from './row.ts'

interface Count {
  inc(): void
}

/** What the ledger's operations share. */
export interface Context {
  rows: RowStore<Row>
  blobs: Blobs
  clock: Clock
  logger: Logger
  /** Unlike any other process', also across restarts. */
  owner: string
  beatMs: number
  /** How long an owner insists on a write that ends its claim while storage is away. */
  insistMs: number
  doubleCalls: Count
  leasesLost: Count
  swept: { inc(labels: { status: RowStatus }): void }
}
