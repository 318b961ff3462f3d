import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import type { BenchOptions } from '../main.ts'
import { type BenchNotifier, startBenchNotifier } from './bench-notifier.ts'
import { type BenchReceiver, startBenchReceiver } from './bench-receiver.ts'

interface Ground extends BenchNotifier {
  receiver: BenchReceiver
}

/**
 * Webhooks against the barest that could send them; how soon the first attempt comes; what hanging receivers do to the
 * others; and what is left of the promises when notifier and Redis are killed.
 */
export async function run({ short, durable }: BenchOptions): Promise<object> {
  const notifier = await startBenchNotifier(durable)
  const receiver = await startBenchReceiver()
  const ground = { ...notifier, receiver }
  try {
    const rates = await throughput(ground, short ? 2 : 7, short ? 300 : 3_000)
    const latencies = await paced(ground, 50, short ? 2 : 20, () => `${receiver.url}/steady`)
    const isolation = await isolationRatio(ground, short ? 1 : 5, short ? 2 : 6)
    const killed = short ? await kills(ground, 300, 2, 1) : await kills(ground, 4_000, 20, 5)
    return {
      deliveries_rps: Math.round(median(rates.ours)),
      bullmq_floor_rps: Math.round(median(rates.floor)),
      ratio: round(median(rates.ours.map((rate, index) => rate / (rates.floor[index] ?? Number.NaN)))),
      first_attempt_ms: { p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99) },
      isolation_p99_ratio: round(isolation),
      ...killed,
    }
  } finally {
    await receiver.close()
    await notifier.stop()
  }
}

const round = (value: number) => Math.round(value * 100) / 100
const median = (values: number[]) => percentile(values, 0.5)
function percentile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

let serial = 0
/** A result of common size, as a router publishes it. */
function event() {
  const id = `req_${String(++serial).padStart(32, '0')}`
  return {
    specversion: '1.0',
    id: `${id}.succeeded`,
    type: 'sluice.request.succeeded',
    source: '/sluice/local',
    subject: id,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    data: {
      id,
      custom_id: `bench-${serial}`,
      response: {
        status_code: 200,
        request_id: id,
        body: { choices: [{ message: { content: 'A word. '.repeat(100) } }] },
      },
      error: null,
      sluice: { tenant: 'local', status: 'succeeded', cost_usd: 0.0001 },
    },
  }
}

const messageOf = (body: ReturnType<typeof event>, url: string) => ({
  body,
  contentType: 'application/cloudevents+json',
  applicationProperties: { tenant: 'local', sink_webhook: true, deliver: JSON.stringify([{ type: 'webhook', url }]) },
})

/** Rounds of ours and of the floor in turns, over the same Redis, to the same receiver, with the same bodies. */
async function throughput({ topic, receiver, redisUrl }: Ground, rounds: number, count: number) {
  const floor = await startFloor(redisUrl)
  const connection = new Redis(redisUrl, { maxRetriesPerRequest: null })
  const queue = new Queue('floor', { connection })
  const timed = async (send: (events: ReturnType<typeof event>[]) => Promise<unknown>): Promise<number> => {
    const events = Array.from({ length: count }, event)
    const startedAt = performance.now()
    for (let at = 0; at < count; at += 250) await send(events.slice(at, at + 250))
    await receiver.until(arrived(receiver, events), 120_000)
    return (count * 1000) / (performance.now() - startedAt)
  }
  const url = `${receiver.url}/throughput`
  const ours = () => timed((events) => topic.sendMessages(events.map((body) => messageOf(body, url))))
  // A job per result as it comes, as a notifier on BullMQ alone would add it.
  const add = (body: ReturnType<typeof event>) =>
    queue.add('post', { url, id: body.id, body: JSON.stringify(body) }, { attempts: 1, removeOnComplete: true })
  const theirs = () => timed((events) => Promise.all(events.map(add)))
  try {
    // The first ones pay for connections and compilation.
    for (const warm of [ours, theirs]) await warm()
    const rates: { ours: number[]; floor: number[] } = { ours: [], floor: [] }
    for (let n = 0; n < rounds; n++) {
      rates.ours.push(await ours())
      rates.floor.push(await theirs())
    }
    return rates
  } finally {
    await queue.close()
    connection.disconnect()
    floor.stdin?.end()
  }
}

/**
 * Whether all have arrived. Asked after every arrival, it goes on where it last stopped: looking at all of them again would
 * take this process as long as the notifier's work takes, and slow the floor most.
 */
function arrived({ first }: BenchReceiver, events: { id: string }[]): () => boolean {
  let at = 0
  return () => {
    while (at < events.length && first.has(events[at]?.id ?? '')) at++
    return at === events.length
  }
}

async function startFloor(redisUrl: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('floors.ts', import.meta.url)), redisUrl], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => (line === 'ready' ? resolve() : undefined))
    child.once('exit', () => reject(new Error('the floor did not start')))
  })
  return child
}

/** Publishes at a steady rate. @returns for each event to a path that answers, the milliseconds from its time to its arrival */
async function paced(
  { topic, receiver }: Ground,
  perSecond: number,
  seconds: number,
  urlOf: (n: number) => string,
): Promise<number[]> {
  const sent: { id: string; atMs: number }[] = []
  const sends: Promise<void>[] = []
  const startedAt = performance.now()
  for (let n = 0; n < perSecond * seconds; n++) {
    await sleep(Math.max(0, startedAt + (n * 1000) / perSecond - performance.now()))
    const body = event()
    const url = urlOf(n)
    if (!url.includes('/hangs')) sent.push({ id: body.id, atMs: Date.parse(body.time) })
    sends.push(topic.sendMessages(messageOf(body, url)))
  }
  await Promise.all(sends)
  await receiver.until(arrived(receiver, sent), 60_000)
  return sent.map(({ id, atMs }) => (receiver.first.get(id) ?? Number.NaN) - atMs)
}

/** p99 of the receivers that work while 30 of 100 hang, over their p99 while those work as well; rounds take turns. */
async function isolationRatio(ground: Ground, rounds: number, seconds: number): Promise<number> {
  const { url } = ground.receiver
  const working = (n: number) => `${url}/works/${n % 100}`
  const mixed = (n: number) => (n % 10 < 3 ? `${url}/hangs/${n % 100}` : working(n))
  await paced(ground, 100, 2, working)
  const ratios: number[] = []
  for (let n = 0; n < rounds; n++) {
    const calm = percentile(await paced(ground, 100, seconds, working), 0.99)
    ratios.push(percentile(await paced(ground, 100, seconds, mixed), 0.99) / calm)
  }
  ground.receiver.release()
  return median(ratios)
}

/** Publishes at a steady rate while processes are killed with SIGKILL, then waits for what is missing. */
async function kills(ground: Ground, count: number, ofNotifier: number, ofRedis: number): Promise<object> {
  const { topic, receiver, notifier, redis } = ground
  const ids: string[] = []
  let publishing = true
  const publish = async () => {
    for (let at = 0; at < count; at += 10) {
      const events = Array.from({ length: Math.min(10, count - at) }, event)
      await topic.sendMessages(events.map((body) => messageOf(body, `${receiver.url}/killed`)))
      ids.push(...events.map(({ id }) => id))
      await sleep(50)
    }
    publishing = false
  }
  const kill = async () => {
    for (let n = 0; n < ofNotifier; n++) {
      await notifier.whenReady()
      await sleep(300 + Math.random() * 500)
      notifier.kill()
      if (Math.floor(((n + 1) * ofRedis) / ofNotifier) > Math.floor((n * ofRedis) / ofNotifier)) redis?.kill()
      // The supervisor notices the end before it can be asked for the next start.
      await sleep(100)
    }
    await notifier.whenReady()
  }
  await Promise.all([publish(), kill()])
  const missing = () => ids.filter((id) => !receiver.first.has(id)).length
  await receiver.until(() => !publishing && missing() === 0, 120_000).catch(() => undefined)
  return { lost: missing(), duplicates_in_effect: receiver.doubled() }
}
