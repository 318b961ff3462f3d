import { type BatchObject, emptyUsage, type Usage } from '@sluice/contracts'
import {
  type BatchRow,
  type BatchStatus,
  isBatchOver,
  type PartRow,
  type RegionProgress,
  type Totals,
} from './batch-row.ts'

const outward: Record<BatchStatus, BatchObject['status']> = {
  validating: 'validating',
  planned: 'in_progress',
  uploading: 'in_progress',
  in_progress: 'in_progress',
  finalizing: 'finalizing',
  completed: 'completed',
  failed: 'failed',
  expired: 'expired',
  cancelling: 'cancelling',
  cancelled: 'cancelled',
}

const noTotals: Totals = {
  ...{ completed: 0, failed: 0, cost_usd: 0, online_usd: 0, waste_usd: 0, regions: [], by_region: {} },
  usage: emptyUsage,
}

/**
 * What the parts add up to by now: what is done for good, and on top of it what the regions report of those that run.
 * A part whose region is lost counts nothing, because its lines are counted where they are done again.
 */
export function totalsOf(parts: readonly PartRow[]): Totals {
  const regions = new Set<string>()
  const sum = structuredClone(noTotals)
  for (const { status, outcome, live, regional, lost } of parts) {
    if (regional !== null) regions.add(regional.region)
    if (outcome === undefined) {
      if (status === 'abandoned') continue
      sum.completed += live.completed
      sum.failed += live.failed
      continue
    }
    sum.completed += outcome.completed
    sum.failed += outcome.failed
    sum.cost_usd += outcome.cost_usd
    sum.online_usd += outcome.online_usd
    if (lost !== true) sum.waste_usd += outcome.waste_usd
    for (const name of Object.keys(emptyUsage) as (keyof Usage)[]) sum.usage[name] += outcome.usage[name]
  }
  return { ...sum, regions: [...regions].sort(), by_region: byRegion(parts) }
}

/** Lines by where they run or ran, "online" being the lanes. */
function byRegion(parts: readonly PartRow[]): Record<string, RegionProgress> {
  const found: Record<string, RegionProgress> = {}
  for (const { status, route, regional, lines, outcome, live } of parts) {
    // An abandoned part's lines are counted where they are done again.
    if (status === 'abandoned' || (outcome !== undefined && outcome.completed + outcome.failed === 0)) continue
    const region = regional?.region ?? (route.length === 0 ? 'online' : undefined)
    if (region === undefined) continue
    const sum = (found[region] ??= { lines: 0, completed: 0, failed: 0 })
    const done = outcome ?? live
    sum.lines += outcome === undefined ? lines : outcome.completed + outcome.failed
    sum.completed += done.completed
    sum.failed += done.failed
  }
  return found
}

/** OpenAI's batch object. Its counts never exceed the lines, and add up to them once the batch is over. */
export function batchObject(row: BatchRow, parts: readonly PartRow[]): BatchObject {
  const totals = row.totals ?? totalsOf(parts)
  const { total, rejected } = row.lines
  const completed = Math.min(totals.completed, total - rejected)
  const rest = total - completed
  const failed = isBatchOver(row.status) ? rest : Math.min(totals.failed + rejected, rest)
  const seconds = (at: string | undefined) => (at === undefined ? null : Math.floor(Date.parse(at) / 1000))
  const { times } = row
  return {
    id: row.id,
    object: 'batch',
    endpoint: row.endpoint,
    input_file_id: row.input_file_id ?? '',
    completion_window: row.completion_window,
    status: outward[row.status],
    output_file_id: row.output_file_id ?? null,
    error_file_id: row.error_file_id ?? null,
    errors: row.problems.length === 0 ? null : { object: 'list', data: row.problems },
    created_at: seconds(row.created_at) ?? 0,
    in_progress_at: seconds(times.planned),
    expires_at: seconds(row.deadline),
    finalizing_at: seconds(times.finalizing),
    completed_at: seconds(times.completed),
    failed_at: seconds(times.failed),
    expired_at: seconds(times.expired),
    cancelling_at: seconds(times.cancelling),
    cancelled_at: seconds(times.cancelled),
    request_counts: { total, completed, failed },
    metadata: row.metadata,
    sluice: {
      tenant: row.tenant,
      mode: row.mode,
      deadline: row.deadline,
      regions: totals.regions,
      by_region: row.totals?.by_region ?? byRegion(parts),
      ...(row.region === undefined ? {} : { region: row.region }),
      cost_usd: totals.cost_usd,
      saved_usd: Math.max(0, totals.online_usd - totals.cost_usd),
      waste_usd: totals.waste_usd + row.abandoned_waste_usd,
      usage: totals.usage,
    },
  }
}
