import { createHash } from 'node:crypto'
import type { PlatformConfig } from '@sluice/contracts'
import { AppError, toAppError } from '@sluice/errors'
import { lineOf } from '@sluice/ledger'
import type { Sender } from '@sluice/messaging'
import { batchEvent, publishBatchEvent } from './batch-events.ts'
import { batchObject, totalsOf } from './batch-object.ts'
import { type BatchRow, type Ending, type FileRow, type PartRow } from './batch-row.ts'
import { type CheckedLine, LineChecker } from './check-lines.ts'
import { fileLines } from './file-lines.ts'
import type { FileStore } from './file-store.ts'
import { mergeResults } from './merge-results.ts'
import { now, type PartContext, type Step, transfer } from './part-context.ts'
import { BatchRefused, loadPlan, planBatch } from './plan.ts'

export interface BatchContext extends PartContext {
  files: FileStore
  topic: Pick<Sender, 'send'>
}

/** One step of a batch that the caller holds. @throws FenceLost; AppError `storage_unavailable`, `queue_unavailable` */
export async function advanceBatch(
  context: BatchContext,
  seen: BatchRow,
  signal: AbortSignal,
): Promise<Step<BatchRow>> {
  const batch = await publishEvents(context, seen)
  return steps[batch.status](context, batch, signal)
}

type Advance = (context: BatchContext, batch: BatchRow, signal: AbortSignal) => Promise<Step<BatchRow>>

const steps: Record<BatchRow['status'], Advance> = {
  validating: async (context, batch, signal) => {
    const { store, blobs } = context
    try {
      const lines = batch.source === 'rows' ? gatheredLines(context, batch) : await fileLinesOf(context, batch, signal)
      const { rows } = context
      const sink = batch.source === 'rows' ? rows.gathered(batch) : batch.per_line ? rows.opening(batch) : undefined
      const plan = await transfer(context, signal, () => planBatch(context, batch, lines, sink, signal))
      const { lines: counts } = await loadPlan(blobs, batch.tenant, plan, signal)
      return now(await store.move(batch, 'planned', { plan, lines: counts }))
    } catch (thrown) {
      if (!(thrown instanceof BatchRefused)) throw thrown
      const { code, message } = thrown
      context.metrics.batches.inc({ end: 'failed' })
      if (batch.per_line) await context.rows.endRest(batch, 'failed')
      const problems = [{ code, message, line: null, param: null }]
      return now(await store.move(batch, 'failed', { problems, events: [...batch.events, 'failed'] }))
    }
  },

  planned: async (context, batch, signal) => {
    const { store, blobs } = context
    if (batch.plan === undefined) throw new AppError('internal', `${batch.id} has no plan.`)
    const { parts } = await loadPlan(blobs, batch.tenant, batch.plan, signal)
    const at = store.iso()
    for (const [index, part] of parts.entries()) {
      await store.create({
        ...{ id: `${batch.id}.${String(index).padStart(5, '0')}`, tenant: batch.tenant, batch: batch.id, schema: 1 },
        ...{ kind: 'part', status: 'planned', fence: 0, owner: null, open: true, due_at: at, created_at: at },
        ...{ updated_at: at, ...part, endpoint: batch.endpoint, attempt: 0, regional: null, holds: false, quiet: 0 },
        ...{ failing_since: null, live: { completed: 0, failed: 0 } },
      })
    }
    return now(await store.move(batch, 'uploading'))
  },

  uploading: watch,
  in_progress: watch,
  cancelling: watch,

  finalizing: async (context, batch, signal) => {
    const { store, blobs, files, rows, metrics } = context
    const parts = await store.parts(batch.tenant, batch.id)
    const ending = endingOf(batch, parts)
    const sums = totalsOf(parts)
    if (batch.per_line) await rows.endRest(batch, ending)
    metrics.batches.inc({ end: ending })
    const events = [...batch.events, ending]
    if (batch.plan === undefined) {
      const totals = { ...sums, completed: 0, failed: batch.lines.total }
      return now(await store.move(batch, ending, { totals, events }))
    }
    const { manifest } = await loadPlan(blobs, batch.tenant, batch.plan, signal)
    const whole = { tenant: batch.tenant, batch: batch.id, manifest, parts, ending }
    const merged = await transfer(context, signal, () => mergeResults(blobs, whole, signal))
    const saved: Partial<Pick<BatchRow, 'output_file_id' | 'error_file_id'>> = {}
    for (const name of ['output', 'error'] as const) {
      if (merged[name].lines > 0)
        saved[`${name}_file_id`] = await saveFile(files, batch, name, merged[name], store.iso())
    }
    const totals = { ...sums, completed: merged.completed, failed: merged.failed }
    const problems = ending === 'failed' ? [lostProblem(parts)] : batch.problems
    return now(await store.move(batch, ending, { totals, problems, events, ...saved }))
  },

  completed: close,
  failed: close,
  expired: close,
  cancelled: close,
}

async function close({ store }: BatchContext, batch: BatchRow): Promise<Step<BatchRow>> {
  return now(await store.move(batch, batch.status, { open: false }))
}

/** Waits for the parts; they wake the batch when they end. */
async function watch(context: BatchContext, batch: BatchRow): Promise<Step<BatchRow>> {
  const { store, platform } = context
  const parts = await store.parts(batch.tenant, batch.id)
  if (parts.every(isSettled) && hasAllParts(parts)) return now(await store.move(batch, 'finalizing'))
  if (batch.status === 'uploading' && parts.every(({ status }) => status !== 'planned' && status !== 'uploading')) {
    return now(await store.move(batch, 'in_progress'))
  }
  const { request_counts: counts } = batchObject(batch, parts)
  const tenth = Math.floor((10 * (counts.completed + counts.failed)) / Math.max(1, counts.total))
  if (tenth > batch.progress && tenth < 10) {
    return now(
      await store.move(batch, batch.status, { progress: tenth, events: [...batch.events, `progress.${tenth}`] }),
    )
  }
  if (batch.status === 'cancelling') {
    for (const part of parts) if (part.open && part.status !== 'abandoned') await store.poke(part, part.id)
  }
  return { row: batch, afterMs: platform.batch.poll_ms }
}

const isSettled = ({ status }: PartRow): boolean => status === 'done' || status === 'abandoned'

/** A child that a part names is there, whatever this read of the partition has seen of it. */
function hasAllParts(parts: readonly PartRow[]): boolean {
  const ids = new Set(parts.map(({ id }) => id))
  return parts.every(({ child }) => child === undefined || ids.has(child))
}

function endingOf(batch: BatchRow, parts: readonly PartRow[]): Ending {
  if (batch.ending !== undefined) return batch.ending
  if (batch.mode === 'sticky' && parts.some(isLost)) return 'failed'
  const answered = parts.reduce((sum, { outcome }) => sum + (outcome?.completed ?? 0) + (outcome?.failed ?? 0), 0)
  return answered >= batch.lines.total - batch.lines.rejected ? 'completed' : 'expired'
}

/** A region was lost under it, and its lines go on nowhere. */
const isLost = ({ lost, child, reason }: PartRow): boolean =>
  lost === true && child === undefined && reason === undefined

function lostProblem(parts: readonly PartRow[]) {
  const region = parts.find(isLost)?.regional?.region ?? 'its region'
  const message = `The batch is pinned to ${region}, which is lost. Sticky batches are not moved: submit the file again, or in standard mode.`
  return { code: 'region_lost', message, line: null, param: null }
}

async function publishEvents(context: BatchContext, batch: BatchRow): Promise<BatchRow> {
  if (batch.events.length === 0) return batch
  const { store, topic } = context
  const parts = batch.totals === undefined ? await store.parts(batch.tenant, batch.id) : []
  const data = batchObject(batch, parts)
  for (const name of batch.events) {
    await publishBatchEvent(topic, batchEvent(name, data, store.iso(), batch.traceparent), batch.deliver)
  }
  return store.move(batch, batch.status, { events: [] })
}

async function fileLinesOf(
  { platform, files, blobs }: BatchContext,
  batch: BatchRow,
  signal: AbortSignal,
): Promise<AsyncIterable<CheckedLine>> {
  const file = await files.get(batch.tenant, batch.input_file_id ?? '')
  if (file === undefined) throw fileGone()
  const content = await blobs.open(batch.tenant, file.blob, signal).catch((error: unknown) => {
    throw toAppError(error).code === 'body_ref_not_found' ? fileGone() : error
  })
  return checkedLines(platform, batch.tenant, content)
}

const fileGone = () => new BatchRefused('file_not_found', 'The input file is not there any more.')

async function* checkedLines(platform: PlatformConfig, tenant: string, content: AsyncIterable<Uint8Array>) {
  const checker = new LineChecker(platform, tenant)
  for await (const line of fileLines(content, platform.batch.max_line_bytes)) yield checker.check(line)
}

async function* gatheredLines({ rows }: BatchContext, batch: BatchRow): AsyncGenerator<CheckedLine> {
  let number = 0
  for await (const row of rows.ofBatch(batch)) {
    number++
    yield { line: lineOf(row), number, bytes: 0, row: row.id }
  }
}

/** The merged file as a file of the tenant; the same batch gives the same id. */
async function saveFile(
  files: FileStore,
  batch: BatchRow,
  name: 'output' | 'error',
  { blob, bytes, lines }: { blob: string; bytes: number; lines: number },
  at: string,
): Promise<string> {
  const id = `file-${createHash('sha256').update(`${batch.tenant}/${batch.id}/${name}`).digest('hex').slice(0, 32)}`
  const row: FileRow = {
    ...{ id, tenant: batch.tenant, schema: 1, purpose: 'batch_output', filename: `${batch.id}_${name}.jsonl` },
    ...{ bytes, lines, rejected: 0, problems: [], blob, created_at: at },
  }
  await files.create(row)
  return id
}
