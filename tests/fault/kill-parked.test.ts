import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ServiceBusClient } from '@azure/service-bus'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { chatLine, eventually, startInbox } from '../e2e/test-stack.ts'
import { type LocalStack, startLocalStack } from '../../stack/src/local-stack.ts'

// Far more arrives than the quotas let through, so that nearly everything waits in the parking index; then the worker is
// killed, and Redis loses its memory. Every request still ends with one result and a webhook.

const count = 60
let stack: LocalStack
let inbox: Awaited<ReturnType<typeof startInbox>>
let dir: string

interface Config {
  deployments: { quota: object; tier?: string }[]
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-parked-'))
  const config = parse(readFileSync('config/sluice.yaml', 'utf8')) as Config
  // Six calls a second.
  for (const deployment of config.deployments) {
    deployment.quota = { tokens_per_minute: 400_000, requests_per_minute: 180 }
  }
  const configFile = join(dir, 'sluice.yaml')
  writeFileSync(configFile, stringify(config))
  stack = await startLocalStack({
    localDir: dir,
    dataDir: join(dir, 'data'),
    port: 0,
    configFile,
    env: { BEAT_MS: '500', LEASE_MS: '3000', SWEEP_INTERVAL_MS: '500' },
    report: () => {},
  })
  inbox = await startInbox(stack.env.SLUICE_WEBHOOK_SECRET ?? '')
}, 120_000)
afterAll(async () => {
  await inbox.close()
  await stack.stop()
  rmSync(dir, { recursive: true, force: true })
}, 60_000)

interface Shown {
  status: string
  place: { position: number; eta_ms: [number, number] | null; estimate: boolean } | null
}
const api = async (path: string, init: RequestInit = {}): Promise<unknown> => {
  const headers = { authorization: `Bearer ${stack.env.SLUICE_API_KEY}`, 'content-type': 'application/json' }
  const answer = await fetch(`${stack.env.INGEST_URL}${path}`, {
    ...init,
    headers,
    signal: AbortSignal.timeout(15_000),
  })
  return answer.json()
}

test('requests that wait survive a killed worker and a Redis without memory', async () => {
  const redis = new Redis(stack.env.REDIS_URL ?? '')
  const client = new ServiceBusClient(stack.env.SERVICE_BUS_CONNECTION_STRING ?? '')
  try {
    const deliver = [{ type: 'webhook', url: inbox.url }]
    const ids = Array.from({ length: count }, (_, n) => `parked-${n}`)
    const sender = client.createSender('requests-standard')
    await sender.sendMessages(ids.map((id) => ({ body: chatLine(id, `Say ${id}.`, { deliver }) })))
    const waiting = async (): Promise<number> => {
      const { data } = (await api('/admin/lanes')) as { data: { name: string; waiting: { requests: number } }[] }
      return data.find(({ name }) => name === 'requests-standard')?.waiting.requests ?? 0
    }
    await eventually(async () => ((await waiting()) > 20 ? true : undefined), 'many that wait')

    const last = { ...chatLine('parked-last', 'Say last.', { deliver }) }
    const { id } = (await api('/v1/requests', { method: 'POST', body: JSON.stringify(last) })) as { id: string }
    const shown = await eventually(async () => {
      const { status, place } = (await api(`/v1/requests/${id}`)) as Shown
      return status === 'waiting' && place?.estimate === false ? place : undefined
    }, 'the place of the last one')
    expect(shown.position).toBeGreaterThan(0)
    const [early, late] = shown.eta_ms ?? [0, 0]
    expect(late).toBeGreaterThanOrEqual(early)
    expect(late).toBeGreaterThan(0)

    stack.processes.get('router-worker')?.kill()
    await redis.flushall()
    const all = [...ids, 'parked-last']
    await eventually(() => (all.every((one) => inbox.of(one).length > 0) ? true : undefined), 'every webhook', 120_000)
    for (const one of all) {
      expect(new Set(inbox.of(one).map(({ webhookId }) => webhookId)).size, one).toBe(1)
      expect(inbox.of(one)[0]?.event.data.sluice.status, one).toBe('succeeded')
    }
    expect(await waiting()).toBe(0)
  } finally {
    await client.close()
    redis.disconnect()
  }
}, 240_000)
