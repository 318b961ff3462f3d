import type { Deployment, PlatformConfig } from '@sluice/contracts'
import type { Clock, SlotPool } from '@sluice/resilience'
import type { Blobs } from '@sluice/storage'
import type { Logger } from '@sluice/telemetry'
import type { BatchMetrics } from './batch-metrics.ts'
import type { BatchRow, PartRow } from './batch-row.ts'
import type { BatchStore } from './batch-store.ts'
import type { Charges } from './charges.ts'
import type { Enqueued } from './enqueued.ts'
import type { LineRows } from './line-rows.ts'
import type { Provider } from './provider.ts'
import type { RegionHealth } from './region-health.ts'

/** What the steps of parts share. */
export interface PartContext {
  platform: PlatformConfig
  store: BatchStore
  blobs: Blobs
  provider: Provider
  enqueued: Enqueued
  health: RegionHealth
  rows: LineRows
  charges: Pick<Charges, 'charge'>
  clock: Clock
  logger: Logger
  metrics: BatchMetrics
  random: () => number
  /** For steps that carry whole files: few at a time, because each has its buffers. */
  transfers: SlotPool
}

/** Runs a step that carries a file once there is a slot for it. */
export async function transfer<T>({ transfers }: PartContext, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const slot = await transfers.acquire(signal)
  try {
    return await work()
  } finally {
    slot.release()
  }
}

/** After a step: the row as it is now, and for how long there is nothing to do. */
export interface Step<R> {
  row: R
  afterMs: number
}

export const now = <R>(row: R): Step<R> => ({ row, afterMs: 0 })

/** The pause before the next look at a part: longer the longer nothing happens, with jitter, and over at `untilMs`. */
export function pollPause({ platform, clock, random }: PartContext, part: PartRow, untilMs?: number): number {
  const { poll_ms: first, max_poll_ms: longest } = platform.batch
  const bound = Math.min(longest, first * 2 ** Math.min(part.quiet, 16))
  const drawn = bound * (0.5 + random() / 2)
  const left = untilMs === undefined ? drawn : Math.max(0, untilMs - clock.now())
  // A time that has passed already is not waited for; the look that came before it did what there was to do.
  return left === 0 ? drawn : Math.min(drawn, left)
}

/** When unanswered lines go online; a sticky batch stays where it is until its deadline. */
export const onlineFromMs = ({ platform }: PartContext, batch: BatchRow): number =>
  Date.parse(batch.deadline) - (batch.mode === 'sticky' ? 0 : platform.batch.online_before_ms)

export function deploymentOf({ platform }: PartContext, name: string): Deployment | undefined {
  return platform.deployments.find((deployment) => deployment.name === name)
}
