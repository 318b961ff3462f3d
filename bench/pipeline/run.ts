import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { availableParallelism } from 'node:os'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ServiceBusClient } from '@azure/service-bus'
import type { LocalStack } from '../../stack/src/local-stack.ts'
import type { BenchOptions } from '../main.ts'
import { startBenchStack } from './bench-stack.ts'

const serviceNames = ['ingest', 'router-worker', 'batch-worker', 'notifier']

/**
 * Requests a second through the whole pipeline against two floors that take turns with it on the same emulators, and
 * the latency that the pipeline adds at five requests a second. Rates are medians over the rounds.
 */
export async function run({ short, durable }: BenchOptions): Promise<object> {
  const [rounds, perRound, calm, backlog] = short ? [2, 100, 10, 0] : [7, 1000, 100, 20_000]
  const stack = await startBenchStack(durable)
  const inbox = await startInbox()
  const floors = await startFloors(stack)
  const client = new ServiceBusClient(stack.env.SERVICE_BUS_CONNECTION_STRING ?? '')
  try {
    const drive = createDriver(client, inbox)
    // The first requests pay for connections, compilation and caches.
    await drive('requests-standard', perRound / 2)
    await drive('floor-steps', perRound / 2)
    await raw(client, perRound / 2)
    const rates: { pipeline: number[]; steps: number[]; raw: number[] } = { pipeline: [], steps: [], raw: [] }
    for (let round = 0; round < rounds; round++) {
      rates.pipeline.push(await drive('requests-standard', perRound))
      rates.steps.push(await drive('floor-steps', perRound))
      rates.raw.push(await raw(client, perRound))
    }
    const added = await addedLatency(client, inbox, calm)
    const memory = backlog === 0 ? {} : await memoryUnderBacklog(stack, client, inbox, backlog)
    const round2 = (value: number) => Math.round(value * 100) / 100
    const ratio = (floor: number[]) =>
      round2(median(rates.pipeline.map((rate, index) => rate / (floor[index] ?? Number.NaN))))
    return {
      throughput_rps: Math.round(median(rates.pipeline)),
      steps_rps: Math.round(median(rates.steps)),
      steps_ratio: ratio(rates.steps),
      raw_sdk_rps: Math.round(median(rates.raw)),
      raw_ratio: ratio(rates.raw),
      added_latency_ms: { p50: round2(percentile(added, 0.5)), p99: round2(percentile(added, 0.99)) },
      ...memory,
      rounds,
      requests_per_round: perRound,
      durable,
      node: process.version,
      cpus: availableParallelism(),
    }
  } finally {
    await client.close()
    floors.stdin?.end()
    await inbox.close()
    await stack.stop()
  }
}

const median = (values: number[]) => percentile(values, 0.5)
function percentile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

type Inbox = Awaited<ReturnType<typeof startInbox>>

async function startInbox() {
  const waiting = new Map<string, (arrival: { atMs: number; modelMs: number }) => void>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const atMs = performance.now()
      response.writeHead(204).end()
      const text = Buffer.concat(chunks).toString('utf8')
      const id = /"custom_id":"([^"]+)"/.exec(text)?.[1] ?? ''
      waiting.get(id)?.({ atMs, modelMs: Number(/"model":([\d.]+),"total"/.exec(text)?.[1] ?? 0) })
      waiting.delete(id)
    })
  })
  server.keepAliveTimeout = 60_000
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    arrival: (id: string) => new Promise<{ atMs: number; modelMs: number }>((resolve) => waiting.set(id, resolve)),
    waiting: () => waiting.size,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function startFloors(stack: LocalStack): Promise<ChildProcess> {
  const twinKey = JSON.parse(readFileSync(stack.twinConfigFile, 'utf8')) as { resources: { keys: string[] }[] }
  const floors = spawn(process.execPath, [fileURLToPath(new URL('floors.ts', import.meta.url))], {
    env: { ...process.env, ...stack.env, AZURE_OPENAI_API_KEY: twinKey.resources[0]?.keys[0] ?? '' },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: floors.stdout }).on('line', (line) => (line === 'ready' ? resolve() : undefined))
    floors.once('exit', () => reject(new Error('the floors did not start')))
  })
  return floors
}

let serial = 0
const line = (id: string, url: string) => ({
  custom_id: id,
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model: 'small', messages: [{ role: 'user', content: `Say ${id} and nothing else.` }], max_tokens: 40 },
  sluice: { deliver: [{ type: 'webhook', url }] },
})

/** Sends `count` lines to a queue and waits for as many webhooks. @returns requests a second */
const createDriver = (client: ServiceBusClient, inbox: Inbox) => async (queue: string, count: number) => {
  const sender = client.createSender(queue)
  const ids = Array.from({ length: count }, () => `bench-${++serial}`)
  const all = Promise.all(ids.map((id) => inbox.arrival(id)))
  const startedAt = performance.now()
  for (let at = 0; at < count; at += 250)
    await sender.sendMessages(ids.slice(at, at + 250).map((id) => ({ body: line(id, inbox.url) })))
  await all
  const rate = (count * 1000) / (performance.now() - startedAt)
  await sender.close()
  return rate
}

async function raw(client: ServiceBusClient, count: number): Promise<number> {
  const out = client.createReceiver('floor-raw-out', { receiveMode: 'receiveAndDelete' })
  const sender = client.createSender('floor-raw-in')
  const startedAt = performance.now()
  const done = new Promise<void>((resolve) => {
    let left = count
    out.subscribe(
      { processMessage: async () => void (--left === 0 && resolve()), processError: async () => {} },
      { maxConcurrentCalls: 100 },
    )
  })
  for (let at = 0; at < count; at += 250) {
    await sender.sendMessages(
      Array.from({ length: Math.min(250, count - at) }, () => ({ body: line(`raw-${++serial}`, 'http://x') })),
    )
  }
  await done
  const rate = (count * 1000) / (performance.now() - startedAt)
  await out.close()
  await sender.close()
  return rate
}

/** Enqueue to webhook received, less the time in the model, at five requests a second. */
async function addedLatency(client: ServiceBusClient, inbox: Inbox, count: number): Promise<number[]> {
  const sender = client.createSender('requests-standard')
  const pending: Promise<number>[] = []
  for (let n = 0; n < count; n++) {
    const id = `calm-${++serial}`
    const arrival = inbox.arrival(id)
    const sentAt = performance.now()
    await sender.sendMessages({ body: line(id, inbox.url) })
    pending.push(arrival.then(({ atMs, modelMs }) => atMs - sentAt - modelMs))
    await sleep(200)
  }
  const added = await Promise.all(pending)
  await sender.close()
  return added
}

/** Resident memory of each service, before and while `count` messages wait. */
async function memoryUnderBacklog(
  stack: LocalStack,
  client: ServiceBusClient,
  inbox: Inbox,
  count: number,
): Promise<object> {
  const before = residentMb(stack)
  const sender = client.createSender('requests-standard')
  const arrivals: Promise<unknown>[] = []
  for (let at = 0; at < count; at += 200) {
    const ids = Array.from({ length: 200 }, () => `wait-${++serial}`)
    arrivals.push(...ids.map((id) => inbox.arrival(id)))
    await sender.sendMessages(ids.map((id) => ({ body: line(id, inbox.url) })))
  }
  await sender.close()
  let peak = residentMb(stack)
  const all = Promise.all(arrivals)
  while (inbox.waiting() > 0) {
    await Promise.race([all, sleep(500)])
    const now = residentMb(stack)
    peak = Object.fromEntries(serviceNames.map((name) => [name, Math.max(peak[name] ?? 0, now[name] ?? 0)]))
  }
  return { rss_mb: { waiting_messages: count, before, peak, after: residentMb(stack) } }
}

function residentMb(stack: LocalStack): Record<string, number> {
  return Object.fromEntries(
    serviceNames.map((name) => {
      const status = readFileSync(`/proc/${stack.processes.get(name)?.pid}/status`, 'utf8')
      return [name, Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024)]
    }),
  )
}
