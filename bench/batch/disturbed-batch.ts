import { once } from 'node:events'
import { createWriteStream, openAsBlob } from 'node:fs'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { BatchStack } from './batch-stack.ts'

export interface Batch {
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

const overBy = 30 * 60_000
const wasteWithinMs = 30_000
const workWithinMs = 30_000

const customId = (n: number) => `order-${String(n).padStart(8, '0')}`

/** Writes a file of so many lines. */
export async function writeLines(path: string, count: number): Promise<void> {
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

/** Submits a file, or its first lines. @param door `/v1`, or `/openai-sticky/v1` to pin it */
export async function submit(stack: BatchStack, path: string, door: string, firstLines?: number): Promise<Batch> {
  const form = new FormData()
  form.set('purpose', 'batch')
  const whole = await openAsBlob(path)
  const content = firstLines === undefined ? whole : new Blob([await beginning(whole, firstLines)])
  form.set('file', content, 'lines.jsonl')
  const { id } = await stack.api<{ id: string }>(`${door}/files`, {
    method: 'POST',
    body: form,
    signal: AbortSignal.timeout(overBy),
  })
  const body = { input_file_id: id, endpoint: '/v1/chat/completions', completion_window: '24h' }
  return stack.api<Batch>(`${door}/batches`, { method: 'POST', body: JSON.stringify(body) })
}

async function beginning(file: Blob, lines: number): Promise<string> {
  const text = await file.slice(0, lines * 600).text()
  return text.split('\n').slice(0, lines).join('\n')
}

/** Kills the worker at a quarter and at two thirds, flushes Redis in between, and loses a region half way. */
export async function disturb(stack: BatchStack, id: string, lines: number): Promise<void> {
  const redis = new Redis(stack.env.REDIS_URL ?? '')
  const kill = () => stack.processes.get('batch-worker')?.kill()
  try {
    const steps: [number, () => Promise<unknown>][] = [
      [0.25, async () => kill()],
      [0.4, () => redis.flushall()],
      [0.5, async () => stack.twin('faults', { type: 'outage', resource: await busiest(stack), mode: '503' })],
      [0.65, async () => kill()],
    ]
    for (const [share, act] of steps) {
      const far = ({ request_counts: { completed } }: Batch) => completed >= share * lines
      await reaches(stack, id, (batch) => isOver(batch.status) || far(batch))
      await act()
    }
  } finally {
    redis.disconnect()
  }
}

/** The region that is at work on the most, as the twin sees it: our own counts are those of the last poll. */
async function busiest(stack: BatchStack): Promise<string> {
  for (const giveUpAt = Date.now() + workWithinMs; Date.now() < giveUpAt; await sleep(20)) {
    const { deployments } = await stack.twin<{ deployments: Enqueued[] }>('state')
    const [most] = deployments.toSorted((a, b) => b.enqueued_tokens - a.enqueued_tokens)
    if (most !== undefined && most.enqueued_tokens > 0) return most.resource
  }
  throw new Error('no region was at work: there was none to lose')
}

interface Enqueued {
  resource: string
  enqueued_tokens: number
}

const isOver = (status: string) => ['completed', 'failed', 'expired', 'cancelled'].includes(status)

/** Waits for the end of a batch. */
export const over = (stack: BatchStack, id: string): Promise<Batch> =>
  reaches(stack, id, ({ status }) => isOver(status))

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
export async function settled(stack: BatchStack, id: string): Promise<Batch> {
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

/** How often each line is in a batch's output, and whether in order. */
export async function readAnswers(stack: BatchStack, { output_file_id: id }: Batch, lines: number) {
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
export async function mispinned(stack: BatchStack): Promise<number> {
  let found = 0
  for (let from = 0; ;) {
    const page = await stack.twin<{ calls: { status: number }[]; next: number }>(`calls?from=${from}&limit=10000`)
    found += page.calls.filter(({ status }) => status === 404).length
    if (page.calls.length === 0 || page.next === from) return found
    from = page.next
  }
}
