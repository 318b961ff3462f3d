import type { Batch } from './batch-api.ts'

const barWidth = 24

/** What a watcher knew before: how much was done when it began to look. */
export interface WatchStart {
  atMs: number
  done: number
}

const doneOf = ({ request_counts: { completed, failed } }: Batch): number => completed + failed

export const watchStart = (batch: Batch, atMs: number): WatchStart => ({ atMs, done: doneOf(batch) })

/** One line: bar, lines done and failed, each region, time left at the rate seen, cost so far. */
export function progressLine(batch: Batch, start: WatchStart, nowMs: number): string {
  const { total, failed } = batch.request_counts
  const done = doneOf(batch)
  const filled = total === 0 ? 0 : Math.floor((done / total) * barWidth)
  const { cost_usd: cost, saved_usd: saved, by_region: regions = {} } = batch.sluice ?? {}
  return [
    `[${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}] ${done}/${total}`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...Object.entries(regions).map(([name, counts]) => `${name} ${counts.completed + counts.failed}/${counts.lines}`),
    batch.status,
    ...(etaOf(total, done, start, nowMs) ?? []),
    ...(cost === undefined ? [] : [`$${cost.toFixed(4)}`]),
    ...(saved === undefined || saved === 0 ? [] : [`$${saved.toFixed(4)} saved`]),
  ].join('  ')
}

function etaOf(total: number, done: number, start: WatchStart, nowMs: number): [string] | undefined {
  const since = done - start.done
  if (since <= 0 || done >= total) return undefined
  return [`${spanOf(((nowMs - start.atMs) / since) * (total - done))} left`]
}

/** A span of time as a person says it. */
function spanOf(ms: number): string {
  const minutes = Math.round(ms / 60_000)
  if (minutes < 1) return `${Math.max(1, Math.round(ms / 1000))} s`
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
