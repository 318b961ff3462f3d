import { type Deployment, emptyUsage } from '@sluice/contracts'
import { AppError, toAppError } from '@sluice/errors'
import { readUsage } from '@sluice/models'
import { batchCostUsd } from './batch-cost.ts'
import { type BatchRow, isBatchOver, type PartOutcome, type PartRow } from './batch-row.ts'
import { FenceLost } from './batch-store.ts'
import { collectPart } from './collect-part.ts'
import { advanceOnline } from './online-part.ts'
import { deploymentOf, now, onlineFromMs, type PartContext, pollPause, type Step, transfer } from './part-context.ts'
import { goOn, placeInLine } from './go-on.ts'
import { linesFor, shortUrl } from './part-lines.ts'
import { pickByHeadroom } from './pick-region.ts'
import type { RegionalBatch } from './provider.ts'
import { abandon, regionFailed } from './region-lost.ts'

const nothingDone: PartOutcome = {
  ...{ completed: 0, failed: 0, cost_usd: 0, online_usd: 0, waste_usd: 0 },
  usage: emptyUsage,
}

/** What a provider's calls fail with. */
const regional: ReadonlySet<string> = new Set([
  'model_unavailable',
  'model_unauthorized',
  'not_found',
  'model_rejected',
])
/** Lines whose part failed so often go online instead. */
const maxAttempts = 3
/** An abandoned batch that its region does not show any more is forgotten after this long. */
const forgetAfterMs = 48 * 3_600_000

/**
 * One step of a part that the caller holds; see the state machine in batch-row.ts. A region that does not answer is no
 * error here: it is looked at again, and lost in the end.
 * @throws FenceLost; AppError `storage_unavailable`
 */
export async function advancePart(
  context: PartContext,
  part: PartRow,
  batch: BatchRow,
  signal: AbortSignal,
): Promise<Step<PartRow>> {
  try {
    return await steps[part.status](context, part, batch, signal)
  } catch (thrown) {
    signal.throwIfAborted()
    const error = thrown instanceof FenceLost ? undefined : toAppError(thrown)
    if (error === undefined || !regional.has(error.code)) throw thrown
    return regionFailed(context, part, batch, error)
  }
}

type Advance = (context: PartContext, part: PartRow, batch: BatchRow, signal: AbortSignal) => Promise<Step<PartRow>>

const steps: Record<PartRow['status'], Advance> = {
  planned: async (context, part, batch) => {
    const { store, clock } = context
    const place = await placeInLine(context, part)
    if (place === 'not yet') return { row: part, afterMs: pollPause(context, part) }
    if (place === 'orphan' || isEnding(batch)) return end(context, part, nothingDone)
    if (part.route.length === 0) return now(await store.move(part, 'online'))
    if (clock.now() >= onlineFromMs(context, batch)) {
      if (batch.mode === 'sticky') return end(context, part, nothingDone)
      return now(await store.move(part, 'online', { route: [] }))
    }
    return reserve(context, part, batch)
  },

  uploading: async (context, part, batch, signal) => {
    const { store, blobs, provider, clock } = context
    const { deployment, regional } = placeOf(context, part)
    let { file } = regional
    const resumed = file !== undefined
    if (file === undefined) {
      if (isEnding(batch)) return giveUpPlace(context, part)
      file = await transfer(context, signal, async () => {
        const lines = linesFor(azureName(deployment), await blobs.open(part.tenant, part.blob, signal))
        return provider.upload(deployment, `${part.id}.jsonl`, lines, signal)
      })
      const held = await store.move(part, 'uploading', { regional: { ...regional, file } })
      return steps.uploading(context, held, batch, signal)
    }
    // After a crash the batch may be there without our knowing its id.
    const known = resumed ? await provider.find(deployment, file) : undefined
    if (known === undefined && isEnding(batch)) return giveUpPlace(context, part)
    const input = { file, endpoint: shortUrl(part.endpoint), part: part.id }
    const created = known ?? (await provider.create(deployment, input))
    const since = store.iso(clock.now())
    const placed = { ...regional, file, batch: created.id, since }
    let held: PartRow
    try {
      held = await store.move(part, 'in_progress', { regional: placed, failing_since: null, quiet: 0 })
    } catch (thrown) {
      // Whoever holds the part now adopts this batch, unless it looked for one before this one was there.
      const successor = (await store.get(part)) as PartRow | undefined
      const other = successor?.regional?.batch
      if (other !== undefined && other !== created.id) await provider.cancel(deployment, created.id)
      throw thrown
    }
    return { row: held, afterMs: pollPause(context, held, onlineFromMs(context, batch)) }
  },

  in_progress: async (context, part, batch) => {
    const { store, provider, clock } = context
    const { deployment, id } = placeOf(context, part)
    const regional = await provider.get(deployment, id)
    if (regional.status === 'failed') return refused(context, part, batch, regional)
    if (isOver(regional)) return now(await store.move(part, 'collecting', { failing_since: null }))
    const reason = isEnding(batch) ? 'cancel' : clock.now() >= onlineFromMs(context, batch) ? 'deadline' : undefined
    if (reason !== undefined) {
      await provider.cancel(deployment, id)
      const held = await store.move(part, 'cancelling', { reason, quiet: 0, failing_since: null })
      return { row: held, afterMs: pollPause(context, held) }
    }
    return look(context, part, regional, onlineFromMs(context, batch))
  },

  cancelling: async (context, part, batch) => {
    const { store, provider, clock } = context
    const { deployment, id } = placeOf(context, part)
    const found = await provider.get(deployment, id)
    if (isOver(found)) return now(await store.move(part, 'collecting', { failing_since: null }))
    if (clock.now() >= cancelledByMs(context, part, batch)) {
      // What it answers after this is paid for and not used.
      const { blob, lines, bytes } = part
      const online = part.reason === 'deadline' && batch.mode === 'standard'
      return abandon(context, part, online ? { blob, lines, bytes, route: [] } : undefined)
    }
    // A request to cancel that met the end of the validation may have been lost.
    if (found.status === 'in_progress') await provider.cancel(deployment, id)
    return look(context, part, found, Date.parse(batch.deadline))
  },

  collecting: async (context, part, batch, signal) => {
    const { blobs, provider, rows, store, clock, metrics } = context
    const { deployment, id } = placeOf(context, part)
    const regional = await provider.get(deployment, id)
    const sink = batch.per_line ? await rows.sink(batch, part, deployment, signal) : undefined
    const found = await transfer(context, signal, () =>
      collectPart({ blobs, provider, sink: sink?.answered }, part, deployment, regional, signal),
    )
    await sink?.end()
    const { left, results, ...sums } = found
    let child: string | undefined
    if (left !== undefined && !isEnding(batch) && part.reason !== 'cancel') {
      const late = part.reason === 'deadline' || clock.now() >= onlineFromMs(context, batch)
      const online = late || part.attempt + 1 >= maxAttempts
      if (!(online && batch.mode === 'sticky')) {
        child = await goOn(context, part, { ...left, route: online ? [] : part.route })
      }
    }
    metrics.parts.inc({ region: deployment.region, end: regional.status })
    metrics.lines.inc({ how: 'batch' }, sums.completed + sums.failed)
    const twice = sink?.twiceUsd() ?? 0
    const outcome: PartOutcome = {
      ...sums,
      waste_usd: sums.waste_usd + twice,
      ...(results === undefined ? {} : { results }),
    }
    const step = await end(context, part, outcome, child === undefined ? {} : { child })
    for (const file of [regional.input_file_id, regional.output_file_id, regional.error_file_id]) {
      if (file !== null && file !== undefined) await provider.remove(deployment, file)
    }
    if (child !== undefined) await store.poke(part, child)
    return step
  },

  abandoned: async (context, part) => {
    const { provider, clock, store } = context
    const { deployment, regional } = placeOf(context, part)
    const old = clock.now() >= Date.parse(part.created_at) + forgetAfterMs
    let found: RegionalBatch | undefined
    try {
      found =
        regional.batch !== undefined
          ? await provider.get(deployment, regional.batch)
          : regional.file === undefined
            ? undefined
            : await provider.find(deployment, regional.file)
    } catch (thrown) {
      const { code } = toAppError(thrown)
      if (code !== 'not_found' && !old) return { row: part, afterMs: pollPause(context, { ...part, quiet: 16 }) }
    }
    if (found !== undefined && !isOver(found) && found.status !== 'failed') {
      await provider.cancel(deployment, found.id).catch(() => undefined)
      return { row: part, afterMs: pollPause(context, { ...part, quiet: 2 }) }
    }
    const waste = found === undefined ? 0 : batchCostUsd(deployment, readUsage(found))
    const step = await end(context, part, { ...nothingDone, waste_usd: waste })
    if (waste > 0) await store.addWaste(part, waste)
    return step
  },

  online: (context, part, batch, signal) => advanceOnline(context, part, batch, end, signal),

  done: async (_, part) => now(part),
}

/** Until when a region has to end what it was asked to: half of the time that is kept for going online. */
function cancelledByMs({ platform }: PartContext, part: PartRow, batch: BatchRow): number {
  const { online_before_ms: onlineBeforeMs } = platform.batch
  const deadlineMs = Date.parse(batch.deadline)
  if (part.reason === 'deadline' && batch.mode === 'standard') return deadlineMs - onlineBeforeMs / 2
  return Math.max(deadlineMs, Date.parse(batch.times.cancelling ?? batch.deadline)) + onlineBeforeMs / 2
}

/** Reserves enqueued tokens on one of the part's deployments, or waits until there is room. */
async function reserve(context: PartContext, part: PartRow, batch: BatchRow): Promise<Step<PartRow>> {
  const { store, enqueued, health, random } = context
  const able = part.route.flatMap((name) => deploymentOf(context, name) ?? [])
  const lost = batch.mode === 'sticky' ? new Set<string>() : await health.lostOf(able.map(({ region }) => region))
  const room = await enqueued.headroom(able)
  const healthy = able.filter(({ region }) => !lost.has(region))
  const chosen = pickByHeadroom(healthy, ({ name }) => room.get(name) ?? 0, part.tokens, random)
  const wait = async () => {
    const row = await store.move(part, 'planned', { quiet: part.quiet + 1 })
    return { row, afterMs: pollPause(context, row, onlineFromMs(context, batch)) }
  }
  if (chosen === undefined || !(await enqueued.reserve(chosen, part.id, part.tokens))) return wait()
  const regional = { deployment: chosen.name, region: chosen.region }
  try {
    return now(await store.move(part, 'uploading', { regional, holds: true, quiet: 0, failing_since: null }))
  } catch (thrown) {
    await enqueued.release(chosen.name, part.id)
    throw thrown
  }
}

/** The region refused the batch as a whole: its enqueued tokens were taken by others, or the deployment is not fit. */
async function refused(
  context: PartContext,
  part: PartRow,
  batch: BatchRow,
  regional: RegionalBatch,
): Promise<Step<PartRow>> {
  const { logger } = context
  const codes = regional.errors?.data?.map(({ code }) => code) ?? []
  logger.warn(
    { part: part.id, tenant: part.tenant, deployment: part.regional?.deployment, codes },
    'a part was refused',
  )
  if (codes.includes('token_limit_exceeded')) {
    const step = await giveUpPlace(context, part, { quiet: part.quiet + 1 })
    return { row: step.row, afterMs: pollPause(context, step.row, onlineFromMs(context, batch)) }
  }
  if (batch.mode === 'sticky') return end(context, part, nothingDone)
  const route = part.route.filter((name) => name !== part.regional?.deployment)
  return giveUpPlace(context, part, { route, attempt: part.attempt + 1 })
}

/** Back to `planned`, without a region. */
async function giveUpPlace(context: PartContext, part: PartRow, set: Partial<PartRow> = {}): Promise<Step<PartRow>> {
  const row = await context.store.move(part, 'planned', { ...set, regional: null, holds: false })
  if (part.regional !== null) await context.enqueued.release(part.regional.deployment, part.id)
  return now(row)
}

async function end(
  context: PartContext,
  part: PartRow,
  outcome: PartOutcome,
  set: Partial<PartRow> = {},
): Promise<Step<PartRow>> {
  const { store, enqueued, metrics, charges } = context
  const row = await store.move(part, 'done', { ...set, outcome, open: false, holds: false })
  metrics.costUsd.inc(outcome.cost_usd)
  metrics.savedUsd.inc(Math.max(0, outcome.online_usd - outcome.cost_usd))
  metrics.wasteUsd.inc(outcome.waste_usd)
  // Lines that went online were charged by whoever ran them.
  if (part.regional !== null) charges.charge(part.tenant, outcome.cost_usd + outcome.waste_usd)
  if (part.regional !== null) await enqueued.release(part.regional.deployment, part.id)
  await store.poke(part, part.batch)
  return now(row)
}

async function look(
  context: PartContext,
  part: PartRow,
  { request_counts: counts }: RegionalBatch,
  untilMs: number,
): Promise<Step<PartRow>> {
  const live = { completed: counts?.completed ?? 0, failed: counts?.failed ?? 0 }
  const moved = live.completed !== part.live.completed || live.failed !== part.live.failed
  const row = await context.store.move(part, part.status, {
    live,
    quiet: moved ? 0 : part.quiet + 1,
    failing_since: null,
  })
  return { row, afterMs: pollPause(context, row, untilMs) }
}

function placeOf(context: PartContext, part: PartRow) {
  const { regional } = part
  const deployment: Deployment | undefined = regional === null ? undefined : deploymentOf(context, regional.deployment)
  if (regional === null || deployment === undefined) {
    throw new AppError('model_unavailable', `${part.id}: its deployment is not configured any more.`)
  }
  return { deployment, regional, id: regional.batch ?? '' }
}

const isEnding = (batch: BatchRow): boolean => batch.status === 'cancelling' || isBatchOver(batch.status)
const isOver = ({ status }: RegionalBatch): boolean => ['completed', 'expired', 'cancelled'].includes(status)
const azureName = ({ batch, azure_name, name }: Deployment): string => batch?.azure_name ?? azure_name ?? name
