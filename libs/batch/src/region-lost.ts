import type { AppError } from '@sluice/errors'
import type { BatchRow, PartRow } from './batch-row.ts'
import { goOn } from './go-on.ts'
import { now, type PartContext, pollPause, type Step } from './part-context.ts'

/**
 * A part's region did not answer. For a while that means another look; after `region_lost_after_ms` the region counts
 * as lost. In standard mode the part's lines then go on elsewhere, all of them, because nothing of it can be fetched; a
 * sticky part ends there, and its batch with it.
 */
export async function regionFailed(
  context: PartContext,
  part: PartRow,
  batch: BatchRow,
  error: AppError,
): Promise<Step<PartRow>> {
  const { store, health, enqueued, platform, clock, logger, metrics } = context
  const since = part.failing_since ?? store.iso()
  const lostAfterMs = platform.batch.region_lost_after_ms
  if (clock.now() - Date.parse(since) < lostAfterMs) {
    const row = await store.move(part, part.status, { failing_since: since, quiet: part.quiet + 1 })
    return { row, afterMs: Math.min(pollPause(context, row), lostAfterMs / 4) }
  }
  const { deployment, region } = part.regional ?? { deployment: '', region: '' }
  logger.warn({ part: part.id, tenant: part.tenant, region, code: error.code }, 'a region is lost')
  const gone = error.code === 'model_unavailable' || error.code === 'model_unauthorized'
  if (batch.mode === 'standard' && gone) await health.lost(region, lostAfterMs)
  metrics.parts.inc({ region, end: 'lost' })
  if (part.status === 'uploading' && part.regional?.file === undefined && batch.mode === 'standard') {
    // Nothing can have started there.
    const row = await store.move(part, 'planned', { regional: null, holds: false, failing_since: null, quiet: 0 })
    await enqueued.release(deployment, part.id)
    return now(row)
  }
  const { blob, lines, bytes, route } = part
  return abandon(context, part, batch.mode === 'standard' ? { blob, lines, bytes, route } : undefined)
}

/** Gives up what a part has in its region. @param rest its lines and where they go on; without it they end unanswered */
export async function abandon(
  context: PartContext,
  part: PartRow,
  rest: Parameters<typeof goOn>[2] | undefined,
): Promise<Step<PartRow>> {
  const { store, enqueued } = context
  const child = rest === undefined ? undefined : await goOn(context, part, rest)
  const row = await store.move(part, 'abandoned', {
    ...{ holds: false, lost: true, failing_since: null },
    ...(child === undefined ? {} : { child }),
  })
  if (part.regional !== null) await enqueued.release(part.regional.deployment, part.id)
  await store.poke(part, part.batch)
  if (child !== undefined) await store.poke(part, child)
  return { row, afterMs: pollPause(context, { ...row, quiet: 16 }) }
}
