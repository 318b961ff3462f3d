import { emptyUsage, type ResultLine, type Usage } from '@sluice/contracts'
import { isTerminal } from '@sluice/contracts'
import type { Row } from '@sluice/ledger'
import type { Blobs } from '@sluice/storage'
import { type BatchRow, isBatchOver, type PartOutcome, type PartRow } from './batch-row.ts'
import type { LineRows } from './line-rows.ts'
import { type PartContext, pollPause, type Step } from './part-context.ts'
import { resultText } from './part-results.ts'
import { WorkWindow } from './work-window.ts'

type End = (context: PartContext, part: PartRow, outcome: PartOutcome) => Promise<Step<PartRow>>

/** Rows read at a time: few, because interactive requests read and write beside it. */
const readAhead = 4

/**
 * A part whose lines run online: each is a request of the ledger, which its lane's workers run, retry and expire like
 * any other. Here they are sent once, waited for in their order, and their results collected.
 */
export async function advanceOnline(
  context: PartContext,
  part: PartRow,
  batch: BatchRow,
  end: End,
  signal: AbortSignal,
): Promise<Step<PartRow>> {
  const { rows, store } = context
  const ending = batch.status === 'cancelling' || isBatchOver(batch.status)
  if (part.sent !== true) {
    if (ending) return end(context, part, { ...nothing, ...{ usage: emptyUsage } })
    let held = part
    const look = async (): Promise<void> => {
      const completed = await countEnded(context, held, batch, signal)
      if (completed > held.live.completed) held = await store.move(held, 'online', { live: { completed, failed: 0 } })
    }
    await rows.sendOnline(batch, part, look, signal)
    const row = await store.move(held, 'online', { sent: true, quiet: 0 })
    return { row, afterMs: pollPause(context, row) }
  }
  if (ending) await cancelAll(context, part, batch, signal)
  const done = await countEnded(context, part, batch, signal)
  if (done === part.lines) return end(context, part, await collect(context, part, batch, signal))
  const before = part.live.completed
  const row = await store.move(part, 'online', {
    live: { completed: done, failed: 0 },
    quiet: done > before ? 0 : part.quiet + 1,
  })
  return { row, afterMs: pollPause(context, row, Date.parse(batch.deadline)) }
}

const nothing = { completed: 0, failed: 0, cost_usd: 0, online_usd: 0, waste_usd: 0 }

/** How many lines from the first on have ended; those of an earlier look are not read again. */
async function countEnded(context: PartContext, part: PartRow, batch: BatchRow, signal: AbortSignal): Promise<number> {
  let at = 0
  let ended = 0
  let ahead: string[] = []
  const look = async (): Promise<boolean> => {
    const found = await Promise.all(ahead.map((id) => context.rows.get(part.tenant, id)))
    const open = found.findIndex((row) => row === undefined || !isTerminal(row.status))
    ended += open < 0 ? ahead.length : open
    ahead = []
    return open < 0
  }
  for await (const { id } of context.rows.onlineIds(batch, part, signal)) {
    if (at++ < part.live.completed) {
      ended++
      continue
    }
    ahead.push(id)
    if (ahead.length === readAhead && !(await look())) return ended
  }
  await look()
  return ended
}

async function cancelAll(context: PartContext, part: PartRow, batch: BatchRow, signal: AbortSignal): Promise<void> {
  const window = new WorkWindow(readAhead)
  for await (const { id } of context.rows.onlineIds(batch, part, signal)) {
    await window.add(async () => void (await context.rows.cancel(part.tenant, id)))
  }
  await window.end()
}

async function collect(
  { rows, blobs, metrics }: PartContext,
  part: PartRow,
  batch: BatchRow,
  signal: AbortSignal,
): Promise<PartOutcome> {
  const path = `batches/${part.batch}/results/${part.id}.tsv`
  const writer = blobs.writer(part.tenant, path, 'text/tab-separated-values', signal)
  const usage: Usage = { ...emptyUsage }
  let completed = 0
  let failed = 0
  let cost = 0
  for await (const { index, id, row } of rowsInOrder(rows, part, batch, signal)) {
    const result = row?.result
    if (result === undefined) continue
    const { status, cost_usd: costUsd, usage: used } = result.sluice
    cost += costUsd
    for (const name of Object.keys(usage) as (keyof Usage)[]) usage[name] += used[name] ?? 0
    // Without an answer of its own the line ends as the batch does.
    if (status === 'cancelled' || status === 'expired') continue
    const ok = status === 'succeeded'
    if (ok) completed++
    else failed++
    await writer.write(`${index}\t${resultText(ok, await resultOf(blobs, part.tenant, id, result, signal))}\n`)
  }
  await writer.close()
  metrics.lines.inc({ how: 'online' }, completed + failed)
  return {
    ...{ completed, failed, usage, cost_usd: cost, online_usd: cost, waste_usd: 0 },
    results: `${part.tenant}/${path}`,
  }
}

/** The requests of a part's lines in their order, read some ahead. */
async function* rowsInOrder(rows: LineRows, part: PartRow, batch: BatchRow, signal: AbortSignal) {
  const ahead: { index: number; id: string; row: Promise<Row | undefined> }[] = []
  const first = async () => {
    const next = ahead.shift()
    return next === undefined ? undefined : { ...next, row: await next.row }
  }
  for await (const { index, id } of rows.onlineIds(batch, part, signal)) {
    const row = rows.get(part.tenant, id)
    // Whoever awaits it in its turn hears of a failure.
    row.catch(() => undefined)
    ahead.push({ index, id, row })
    const next = ahead.length < readAhead ? undefined : await first()
    if (next !== undefined) yield next
  }
  for (let next = await first(); next !== undefined; next = await first()) yield next
}

async function resultOf(
  blobs: Blobs,
  tenant: string,
  id: string,
  { response, error }: ResultLine,
  signal: AbortSignal,
): Promise<object> {
  if (response?.body_ref === undefined) return { id, response, error }
  const { body_ref: ref, ...rest } = response
  const body = JSON.parse((await blobs.get(tenant, ref, { signal })).toString('utf8')) as unknown
  return { id, response: { ...rest, body }, error }
}
