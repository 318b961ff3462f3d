import { once } from 'node:events'
import { createWriteStream, openAsBlob } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { BenchOptions } from '../main.ts'
import { type BatchStack, startBatchStack } from './batch-stack.ts'
import { interference } from './interference.ts'
import { watchProcesses } from './process-figures.ts'

interface Batch {
  id: string
  status: string
  output_file_id: string | null
  request_counts: { total: number; completed: number; failed: number }
  sluice: {
    cost_usd: number
    saved_usd: number
    waste_usd: number
    regions: string[]
    by_region: Record<string, { lines: number; completed: number }>
  }
}

/** The twin's time against ours while a batch runs: its batches take seconds, not hours. */
const clockRate = 4
const overBy = 30 * 60_000
const wasteWithinMs = 30_000

/**
 * One file of lines through the whole stack, while its worker is killed twice, Redis is flushed and a region is lost:
 * every line must come back once, in its place. Then what bulk work that went online does to interactive requests.
 */
export async function run({ short, durable, lines = short ? 2_000 : 200_000 }: BenchOptions): Promise<object> {
  const stack = await startBatchStack(durable)
  const file = join(tmpdir(), `sluice-bench-${process.pid}.jsonl`)
  const worker = stack.processes.get('batch-worker')
  const ingest = stack.processes.get('ingest')
  const watch = watchProcesses(() => [worker?.pid, ingest?.pid])
  try {
    await writeLines(file, lines)
    await stack.twin('clock', { rate: clockRate })
    const pinned = await submit(stack, file, '/openai-sticky/v1')
    const { id } = await submit(stack, file, '/v1')
    await disturb(stack, id, lines)
    const batch = await over(stack, id)
    const cpuMs = watch.cpuMs()
    const answers = await readAnswers(stack, batch, lines)
    await over(stack, pinned.id)
    const { sluice } = await settled(stack, id)
    const online = sluice.cost_usd + sluice.saved_usd
    const paid = sluice.cost_usd + sluice.waste_usd
    const peak = watch.peakRssMb()
    const calls = await mispinned(stack)
    watch.stop()
    return {
      lines,
      ...answers,
      cost_ratio_online: round(paid / online),
      waste_ratio: round(sluice.waste_usd / paid),
      mispinned_calls: calls,
      peak_rss_mb: Math.round(peak),
      regions_used: sluice.regions.length,
      overhead_ms_per_1000_lines: round(cpuMs / (lines / 1_000)),
      interference_p99_ratio: await interference(stack, short ? 200 : 10_000, short ? 40 : 300),
    }
  } finally {
    watch.stop()
    await rm(file, { force: true })
    await stack.stop()
  }
}

const round = (value: number) => Math.round(value * 1_000) / 1_000
const customId = (n: number) => `order-${String(n).padStart(8, '0')}`

async function writeLines(path: string, count: number): Promise<void> {
  const out = createWriteStream(path)
  const prompt = 'Name the product, the complaint and the mood of this message in one line each. '.repeat(2)
  for (let n = 0; n < count; n++) {
    const messages = [{ role: 'user', content: `${prompt} Message ${n}: the parcel came late. [tokens=8]` }]
    const body = { model: 'gpt-4.1-mini', messages, max_tokens: 20 }
    const line = `${JSON.stringify({ custom_id: customId(n), method: 'POST', url: '/v1/chat/completions', body })}\n`
    if (!out.write(line)) await once(out, 'drain')
  }
  await new Promise<void>((resolve, reject) => out.once('error', reject).end(resolve))
}

async function submit(stack: BatchStack, path: string, door: string): Promise<Batch> {
  const form = new FormData()
  form.set('purpose', 'batch')
  const sticky = door !== '/v1'
  // The pinned one is small: it shows that its calls find their region, and costs nothing that counts.
  const content = sticky ? new Blob([await firstLines(path, 200)]) : await openAsBlob(path)
  form.set('file', content, 'lines.jsonl')
  const { id } = await stack.api<{ id: string }>(`${door}/files`, {
    method: 'POST',
    body: form,
    signal: AbortSignal.timeout(overBy),
  })
  const body = { input_file_id: id, endpoint: '/v1/chat/completions', completion_window: '24h' }
  return stack.api<Batch>(`${door}/batches`, { method: 'POST', body: JSON.stringify(body) })
}

async function firstLines(path: string, count: number): Promise<string> {
  const text = await (await openAsBlob(path)).slice(0, count * 600).text()
  return text.split('\n').slice(0, count).join('\n')
}

/** Kills the worker at a quarter and at two thirds, flushes Redis in between, and loses a region half way. */
async function disturb(stack: BatchStack, id: string, lines: number): Promise<void> {
  const redis = new Redis(stack.env.REDIS_URL ?? '')
  const kill = () => stack.processes.get('batch-worker')?.kill()
  try {
    const steps: [number, (batch: Batch) => Promise<unknown> | undefined][] = [
      [0.25, async () => kill()],
      [0.4, () => redis.flushall()],
      [0.5, (batch) => stack.twin('faults', { type: 'outage', resource: busiest(batch), mode: '503' })],
      [0.65, async () => kill()],
    ]
    for (const [share, act] of steps) {
      await act(
        await reaches(
          stack,
          id,
          ({ status, request_counts: { completed } }) => isOver(status) || completed >= share * lines,
        ),
      )
    }
  } finally {
    redis.disconnect()
  }
}

/** The region with the most lines under way. */
function busiest({ sluice: { by_region } }: Batch): string {
  const open = Object.entries(by_region).map(([name, { lines, completed }]) => ({ name, open: lines - completed }))
  return open.sort((a, b) => b.open - a.open)[0]?.name ?? 'eastus2'
}

const isOver = (status: string) => ['completed', 'failed', 'expired', 'cancelled'].includes(status)
const over = (stack: BatchStack, id: string) => reaches(stack, id, ({ status }) => isOver(status))

async function reaches(stack: BatchStack, id: string, until: (batch: Batch) => boolean): Promise<Batch> {
  const giveUpAt = Date.now() + overBy
  for (;;) {
    const batch = await stack.api<Batch>(`/v1/batches/${id}`)
    if (until(batch)) return batch
    if (Date.now() > giveUpAt) throw new Error(`the batch stayed ${JSON.stringify(batch)}`)
    await sleep(100)
  }
}

/** With the region back, what was paid there and not used comes to light. */
async function settled(stack: BatchStack, id: string): Promise<Batch> {
  await stack.twin('actions', { clear: true })
  const giveUpAt = Date.now() + wasteWithinMs
  let before = Number.NaN
  for (;;) {
    const batch = await stack.api<Batch>(`/v1/batches/${id}`)
    const { waste_usd: waste } = batch.sluice
    // Parts that were abandoned are looked at every few seconds; when two looks add nothing, all have been.
    if ((waste > 0 && waste === before) || Date.now() > giveUpAt) return batch
    before = waste
    await sleep(5_000)
  }
}

async function readAnswers(stack: BatchStack, { output_file_id: id }: Batch, lines: number) {
  const answer = await fetch(`${stack.env.INGEST_URL}/v1/files/${id}/content`, {
    headers: { authorization: `Bearer ${stack.env.SLUICE_API_KEY}` },
    signal: AbortSignal.timeout(overBy),
  })
  if (answer.body === null) throw new Error('the output has no content')
  const times = new Uint8Array(lines)
  let last = -1
  let inOrder = true
  for await (const line of createInterface({ input: Readable.fromWeb(answer.body) })) {
    const n = Number(/"custom_id":"order-(\d+)"/.exec(line)?.[1])
    times[n] = (times[n] ?? 0) + 1
    inOrder &&= n > last
    last = n
  }
  const count = (wanted: (seen: number) => boolean) => times.reduce((sum, seen) => sum + (wanted(seen) ? 1 : 0), 0)
  return {
    answered_once: count((seen) => seen === 1),
    duplicates: count((seen) => seen > 1),
    missing: count((seen) => seen === 0),
    order_ok: inOrder,
  }
}

/** Calls about a file or a batch that met a region which does not have it. */
async function mispinned(stack: BatchStack): Promise<number> {
  let found = 0
  for (let from = 0; ;) {
    const page = await stack.twin<{ calls: { status: number }[]; next: number }>(`calls?from=${from}&limit=10000`)
    found += page.calls.filter(({ status }) => status === 404).length
    if (page.calls.length === 0 || page.next === from) return found
    from = page.next
  }
}
