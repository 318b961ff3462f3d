import { ServiceBusClient } from '@azure/service-bus'
import type { BatchObject } from '@sluice/contracts'
import { connectCosmos } from '@sluice/storage'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { chatLine, eventually, startInbox, startTestStack, type TestStack } from '../e2e/test-stack.ts'

// SIGKILL in the middle of 200 requests: every request ends with exactly one stored result and at least one webhook,
// and however often a webhook came, its id is the same.

const count = 200
let stack: TestStack
let inbox: Awaited<ReturnType<typeof startInbox>>

beforeAll(async () => {
  stack = await startTestStack({
    durable: true,
    lockDuration: 'PT5S',
    env: { BEAT_MS: '500', LEASE_MS: '3000', SWEEP_INTERVAL_MS: '500' },
  })
  inbox = await startInbox(stack.env.SLUICE_WEBHOOK_SECRET ?? '')
}, 120_000)
afterAll(async () => {
  await inbox.close()
  await stack.stop()
}, 60_000)

interface StoredRow {
  id: string
  status: string
  result?: { id: string }
}

async function storedRows(prefix: string): Promise<StoredRow[]> {
  const cosmos = connectCosmos({
    endpoint: stack.env.COSMOS_ENDPOINT ?? '',
    key: stack.env.COSMOS_KEY ?? '',
    database: 'sluice',
  })
  try {
    return await cosmos.rows<StoredRow>('requests').query<StoredRow>({
      sql: 'SELECT c.id, c.status, c.result FROM c WHERE STARTSWITH(c.line.custom_id, @prefix)',
      parameters: { prefix },
      limit: 1000,
    })
  } finally {
    await cosmos.close()
  }
}

/** The model takes its time, so that there is a middle in which to kill. */
const slow = async (ms: number) => {
  await fetch(`${stack.controls.openai}/faults`, { method: 'DELETE' })
  if (ms === 0) return
  const answer = await fetch(`${stack.controls.openai}/faults`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'delay', ms }),
  })
  expect(answer.ok).toBe(true)
}

async function expectAllAnswered(prefix: string): Promise<void> {
  const ids = Array.from({ length: count }, (_, n) => `${prefix}-${n}`)
  await eventually(
    () => (ids.every((id) => inbox.of(id).length > 0) ? true : undefined),
    `webhooks of all ${prefix} requests`,
    120_000,
  )
  const rows = await storedRows(`${prefix}-`)
  expect(rows).toHaveLength(count)
  expect(rows.filter(({ status }) => status !== 'succeeded')).toEqual([])
  for (const id of ids) {
    const arrivals = inbox.of(id)
    expect(new Set(arrivals.map(({ webhookId }) => webhookId)).size, id).toBe(1)
    expect(new Set(arrivals.map(({ event }) => JSON.stringify(event.data))).size, id).toBe(1)
  }
  expect(inbox.unverified()).toBe(0)
}

const deliver = () => [{ type: 'webhook', url: inbox.url }]

async function sendLines(prefix: string): Promise<void> {
  const client = new ServiceBusClient(stack.env.SERVICE_BUS_CONNECTION_STRING ?? '')
  const lines = Array.from({ length: count }, (_, n) => ({
    body: chatLine(`${prefix}-${n}`, `What is ${n} plus 1?`, { deliver: deliver() }),
  }))
  await client.createSender('requests-standard').sendMessages(lines)
  await client.close()
}

test('the router worker is killed while requests run', async () => {
  await slow(150)
  await sendLines('router')
  await eventually(() => (inbox.received.length >= 30 ? true : undefined), 'the first answers')
  stack.processes.get('router-worker')?.kill()
  await eventually(() => (inbox.received.length >= 100 ? true : undefined), 'half of the answers')
  stack.processes.get('router-worker')?.kill()
  await expectAllAnswered('router')
})

test('the notifier is killed while results fan out', async () => {
  await slow(30)
  const before = inbox.received.length
  await sendLines('notifier')
  await eventually(() => (inbox.received.length >= before + 30 ? true : undefined), 'the first webhooks')
  stack.processes.get('notifier')?.kill()
  await eventually(() => (inbox.received.length >= before + 100 ? true : undefined), 'half of the webhooks')
  stack.processes.get('notifier')?.kill()
  await expectAllAnswered('notifier')
})

test('ingest is killed while clients submit and ask again with the same key', async () => {
  await slow(0)
  const ingest = stack.processes.get('ingest')
  const submit = (n: number) =>
    eventually(async () => {
      try {
        const answer = await stack.api('/v1/requests', {
          method: 'POST',
          body: JSON.stringify(chatLine(`ingest-${n}`, `What is ${n} times 2?`, { deliver: deliver() })),
          headers: { 'idempotency-key': `ingest-${n}` },
        })
        return answer.status === 202 ? ((await answer.json()) as { id: string }).id : undefined
      } catch {
        return undefined
      }
    }, `the 202 of ${n}`)
  const ids: string[] = []
  for (let n = 0; n < count; n += 20) {
    if (n === 60 || n === 140) ingest?.kill()
    ids.push(...(await Promise.all(Array.from({ length: 20 }, (_, m) => submit(n + m)))))
  }
  expect(new Set(ids).size).toBe(count)
  await expectAllAnswered('ingest')
})

test('the batch worker is killed while a region works on a file, and Redis forgets its timers', async () => {
  const file = Array.from({ length: 40 }, (_, n) =>
    chatLine(`batch-${n}`, `What is ${n} times 3?`, {}, { model: 'gpt-4.1-mini' }),
  )
  const form = new FormData()
  form.set('purpose', 'batch')
  form.set('file', new Blob([file.map((line) => JSON.stringify(line)).join('\n')]), 'lines.jsonl')
  const authorization = `Bearer ${stack.env.SLUICE_API_KEY}`
  const upload = await fetch(`${stack.env.INGEST_URL}/v1/files`, {
    method: 'POST',
    body: form,
    headers: { authorization },
  })
  const { id: input_file_id } = (await upload.json()) as { id: string }
  const created = await stack.api('/v1/batches', {
    method: 'POST',
    body: JSON.stringify({ input_file_id, endpoint: '/v1/chat/completions', completion_window: '24h' }),
  })
  const { id } = (await created.json()) as { id: string }
  const batch = async () => (await (await stack.api(`/v1/batches/${id}`)).json()) as BatchObject
  await eventually(async () => ((await batch()).status === 'validating' ? undefined : true), 'the batch to be planned')
  stack.processes.get('batch-worker')?.kill()
  const redis = new Redis(stack.env.REDIS_URL ?? '')
  await redis.flushall()
  redis.disconnect()
  const done = await eventually(
    async () => ((await batch()).status === 'completed' ? batch() : undefined),
    'the batch to end',
    120_000,
  )
  expect(done.request_counts).toEqual({ total: 40, completed: 40, failed: 0 })
  const output = await (await stack.api(`/v1/files/${done.output_file_id}/content`)).text()
  const ids = output
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { custom_id: string }).custom_id)
  expect(ids).toEqual(file.map(({ custom_id }) => custom_id))
})
