import { setTimeout as sleep } from 'node:timers/promises'
import { type BatchStack, regions } from './batch-stack.ts'

interface Request {
  status: string
  result: { sluice: { timings_ms: { total: number } } } | null
}

/** What a model takes: without it there would be nothing but this machine's own load to compare. */
const latency = { first_token_ms: 250, per_token_ms: 5, jitter: 0.1 }
/** Ten a second: two processors that also run the clients and the twin have to be left with room. */
const everyMs = 100
const giveUpMs = 30 * 60_000
const deadlineMs = 15 * 60_000

/**
 * The 99th percentile of interactive requests while bulk lines that went online run beside them, over its value alone
 * (measured before and after). @throws when a bulk line did not finish before its deadline
 */
export async function interference(stack: BatchStack, bulkLines: number, requests: number): Promise<object> {
  await stack.twin('clock', { rate: 1 })
  for (const resource of regions)
    await stack.twin('deployments', { resource, deployment: 'mini', settings: { latency } })
  await interactive(stack, requests / 4)
  const before = await interactive(stack, requests)
  const id = await escalated(stack, bulkLines)
  const beside: number[] = []
  let counts = await countsOf(stack, id)
  while (!counts.over) {
    beside.push(...(await interactive(stack, Math.min(requests, 50))))
    counts = await countsOf(stack, id)
  }
  if (counts.completed !== bulkLines)
    throw new Error(`${counts.completed} of ${bulkLines} bulk lines made their deadline`)
  const after = await interactive(stack, requests)
  return {
    interference_p99_ratio: Math.round((p99(beside) / p99([...before, ...after])) * 100) / 100,
    interactive_p99_ms: { alone: p99([...before, ...after]), beside: p99(beside) },
    bulk_lines_per_second: Math.round(bulkLines / counts.seconds),
  }
}

const p99 = (times: number[]) => times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? Number.NaN

/** A batch with so little time that all its lines go online at once. */
async function escalated(stack: BatchStack, count: number): Promise<string> {
  const lines = Array.from({ length: count }, (_, n) => JSON.stringify({ custom_id: `bulk-${n}`, ...request(n) }))
  const form = new FormData()
  form.set('purpose', 'batch')
  form.set('file', new Blob([lines.join('\n')]), 'bulk.jsonl')
  const file = await stack.api<{ id: string }>('/v1/files', { method: 'POST', body: form })
  const batch = await stack.api<{ id: string }>('/v1/batches', {
    method: 'POST',
    body: JSON.stringify({
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      sluice: { deadline: new Date(Date.now() + deadlineMs).toISOString() },
    }),
  })
  return batch.id
}

async function countsOf(stack: BatchStack, id: string) {
  const batch = await stack.api<{
    status: string
    request_counts: { completed: number }
    created_at: number
    completed_at: number | null
  }>(`/v1/batches/${id}`)
  return {
    over: ['completed', 'failed', 'expired', 'cancelled'].includes(batch.status),
    completed: batch.request_counts.completed,
    seconds: (batch.completed_at ?? Number.NaN) - batch.created_at,
  }
}

const request = (n: number) => ({
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model: 'gpt-4.1-mini', messages: [{ role: 'user', content: `Say ${n}. [tokens=10]` }], max_tokens: 20 },
})

let sent = 0

/** Interactive requests at a steady pace. @returns what each took, accepted to answered, in ms */
async function interactive(stack: BatchStack, count: number): Promise<number[]> {
  const ids: Promise<string>[] = []
  for (let n = 0; n < count; n++) {
    const line = { custom_id: `live-${sent++}`, ...request(sent), sluice: { priority: 'interactive' } }
    const made = stack.api<{ id: string }>('/v1/requests', { method: 'POST', body: JSON.stringify(line) })
    ids.push(made.then(({ id }) => id))
    await sleep(everyMs)
  }
  return Promise.all(ids.map(async (id) => taken(stack, await id)))
}

async function taken(stack: BatchStack, id: string): Promise<number> {
  for (const giveUpAt = Date.now() + giveUpMs; Date.now() < giveUpAt;) {
    const { result } = await stack.api<Request>(`/v1/requests/${id}`)
    if (result !== null && result !== undefined) return result.sluice.timings_ms.total
    await sleep(50)
  }
  throw new Error(`${id} was not answered`)
}
