import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { EventHubConsumerClient, EventHubProducerClient } from '@azure/event-hubs'
import { ServiceBusClient } from '@azure/service-bus'
import { type ProcessSpec, SupervisedProcess } from '@sluice/emulator-host'
import type { BenchOptions } from '../main.ts'

const payload = Buffer.alloc(1024, 'x')

interface Peer {
  process: SupervisedProcess
  serviceBus: ServiceBusClient
  connectionString: string
  hubs: EventHubProducerClient
}

type Figures = Record<'batch_send' | 'single_send' | 'receive_complete' | 'hub_send' | 'hub_consume', number[]>

/**
 * The SDKs' calls against the emulator in memory, against the durable emulator, and against the barest possible rhea
 * peer, in turns. A ratio is the median over the rounds of emulator ÷ bare peer.
 */
export async function run({ short }: BenchOptions): Promise<object> {
  const [rounds, count, backlog] = short ? [2, 1000, 2000] : [7, 10_000, 100_000]
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-emulators-'))
  const peers: Record<string, Peer> = {}
  try {
    peers.bare = await startPeer('bare-peer', fileURLToPath(new URL('bare-peer.ts', import.meta.url)), [])
    const main = fileURLToPath(new URL('../../emulators/amqp/src/main.ts', import.meta.url))
    const entities = writeEntities(dir)
    peers.memory = await startPeer('memory', main, entities)
    peers.durable = await startPeer('durable', main, [...entities, '--data', join(dir, 'data')])
    const figures = Object.fromEntries(
      Object.keys(peers).map((name): [string, Figures] => [
        name,
        { batch_send: [], single_send: [], receive_complete: [], hub_send: [], hub_consume: [] },
      ]),
    )
    for (const peer of Object.values(peers)) await measure(peer, Math.ceil(count / 5))
    for (let round = 0; round < rounds; round++) {
      for (const [name, peer] of Object.entries(peers)) {
        const rates = await measure(peer, count)
        for (const [operation, rate] of Object.entries(rates)) figures[name]?.[operation as keyof Figures].push(rate)
      }
    }
    const ratio = (name: string, operation: keyof Figures) => {
      const floor = figures.bare?.[operation] ?? []
      return round2(
        median((figures[name]?.[operation] ?? []).map((rate, index) => rate / (floor[index] ?? Number.NaN))),
      )
    }
    return {
      service_bus: {
        send_ratio: ratio('memory', 'batch_send'),
        single_send_ratio: ratio('memory', 'single_send'),
        receive_complete_ratio: ratio('memory', 'receive_complete'),
        durable_send_ratio: ratio('durable', 'batch_send'),
        durable_single_send_ratio: ratio('durable', 'single_send'),
        durable_receive_complete_ratio: ratio('durable', 'receive_complete'),
      },
      event_hubs: {
        send_ratio: ratio('memory', 'hub_send'),
        consume_ratio: ratio('memory', 'hub_consume'),
        durable_send_ratio: ratio('durable', 'hub_send'),
      },
      ...(await memory(peers.memory, 'rss_mb', backlog)),
      ...(await memory(peers.durable, 'durable_rss_mb', short ? backlog : 200_000)),
      rates_per_s: Object.fromEntries(
        Object.entries(figures).map(([name, rates]) => [
          name,
          Object.fromEntries(
            Object.entries(rates).map(([operation, values]) => [operation, Math.round(median(values))]),
          ),
        ]),
      ),
      rounds,
      messages_per_round: count,
      node: process.version,
      cpus: availableParallelism(),
    }
  } finally {
    for (const peer of Object.values(peers)) {
      await Promise.allSettled([peer.serviceBus.close(), peer.hubs.close()])
      await peer.process.stop()
    }
    rmSync(dir, { recursive: true, force: true })
  }
}

const round2 = (value: number) => Math.round(value * 100) / 100
const median = (values: number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

function writeEntities(dir: string): string[] {
  const queue = (Name: string) => ({ Name, Properties: { LockDuration: 'PT1M', MaxDeliveryCount: 10 } })
  const serviceBus = {
    UserConfig: {
      Namespaces: [{ Name: 'ns', Queues: [queue('send'), queue('receive'), queue('backlog')], Topics: [] }],
    },
  }
  const hubs = {
    UserConfig: {
      NamespaceConfig: [
        {
          Type: 'EventHub',
          Name: 'ns',
          Entities: [{ Name: 'hub', PartitionCount: 1, ConsumerGroups: [] }],
        },
      ],
    },
  }
  writeFileSync(join(dir, 'service-bus.json'), JSON.stringify(serviceBus))
  writeFileSync(join(dir, 'event-hubs.json'), JSON.stringify(hubs))
  return ['--service-bus-config', join(dir, 'service-bus.json'), '--event-hubs-config', join(dir, 'event-hubs.json')]
}

async function startPeer(name: string, file: string, args: string[]): Promise<Peer> {
  const spec: ProcessSpec = {
    name,
    command: process.execPath,
    args: () => [file, ...args],
    readyLine: (line) => {
      if (!line.startsWith('{')) return undefined
      const value = JSON.parse(line) as { ready?: boolean; port: number }
      return value.ready === true ? value : undefined
    },
    restart: false,
  }
  const child = new SupervisedProcess(spec, (event) => event.kind === 'note' && console.error(name, event.note))
  const { port } = await child.start()
  const connectionString = `Endpoint=sb://localhost:${port};SharedAccessKeyName=x;SharedAccessKey=y;UseDevelopmentEmulator=true`
  return {
    process: child,
    connectionString,
    serviceBus: new ServiceBusClient(connectionString),
    hubs: new EventHubProducerClient(connectionString, 'hub'),
  }
}

const rate = (count: number, startedAt: number) => (count * 1000) / (performance.now() - startedAt)

async function measure(peer: Peer, count: number): Promise<Record<keyof Figures, number>> {
  const batch_send = await batchSend(peer, 'receive', count)
  const single_send = await singleSend(peer, count)
  const receive_complete = await receiveComplete(peer, count)
  await drain(peer, 'send')
  const hub_send = await hubSend(peer, count)
  const hub_consume = await hubConsume(peer, count)
  return { batch_send, single_send, receive_complete, hub_send, hub_consume }
}

async function batchSend(peer: Peer, queue: string, count: number): Promise<number> {
  const sender = peer.serviceBus.createSender(queue)
  await sender.createMessageBatch()
  const startedAt = performance.now()
  const inFlight: Promise<void>[] = []
  for (let sent = 0; sent < count; sent += 100) {
    inFlight.push(sender.sendMessages(Array.from({ length: 100 }, () => ({ body: payload }))))
    if (inFlight.length >= 4) await inFlight.shift()
  }
  await Promise.all(inFlight)
  const result = rate(count, startedAt)
  await sender.close()
  return result
}

async function singleSend(peer: Peer, count: number): Promise<number> {
  const sender = peer.serviceBus.createSender('send')
  await sender.createMessageBatch()
  const startedAt = performance.now()
  let left = count
  const lane = async () => {
    while (left-- > 0) await sender.sendMessages({ body: payload })
  }
  await Promise.all(Array.from({ length: 64 }, lane))
  const result = rate(count, startedAt)
  await sender.close()
  return result
}

async function receiveComplete(peer: Peer, count: number): Promise<number> {
  const receiver = peer.serviceBus.createReceiver('receive', { maxAutoLockRenewalDurationInMs: 0 })
  const startedAt = performance.now()
  let left = count
  await new Promise<void>((resolve, reject) => {
    receiver.subscribe(
      {
        processMessage: async (message) => {
          await receiver.completeMessage(message)
          if (--left === 0) resolve()
        },
        processError: async ({ error }) => reject(error),
      },
      { maxConcurrentCalls: 100, autoCompleteMessages: false },
    )
  })
  const result = rate(count, startedAt)
  await receiver.close()
  return result
}

async function hubSend(peer: Peer, count: number): Promise<number> {
  const startedAt = performance.now()
  for (let sent = 0; sent < count; sent += 100) {
    await peer.hubs.sendBatch(Array.from({ length: 100 }, () => ({ body: payload })))
  }
  return rate(count, startedAt)
}

async function hubConsume(peer: Peer, count: number): Promise<number> {
  const consumer = new EventHubConsumerClient('$Default', peer.connectionString, 'hub')
  const startedAt = performance.now()
  let left = count
  await new Promise<void>((resolve, reject) => {
    consumer.subscribe(
      '0',
      {
        processEvents: async (events) => {
          left -= events.length
          if (left <= 0) resolve()
        },
        processError: async (error) => reject(error),
      },
      { startPosition: { offset: '-1' }, maxBatchSize: 200, prefetchCount: 1000 },
    )
  })
  const result = rate(count, startedAt)
  await consumer.close()
  return result
}

/** Empties a queue of the emulator; the bare peer's never ends, and holds nothing. */
async function drain(peer: Peer, queue: string): Promise<void> {
  if (peer.process.name === 'bare-peer') return
  const receiver = peer.serviceBus.createReceiver(queue, { receiveMode: 'receiveAndDelete' })
  while ((await receiver.receiveMessages(1000, { maxWaitTimeInMs: 500 })).length > 0);
  await receiver.close()
}

/** Resident memory before, with `count` messages of 1 KiB waiting, and after they are gone. */
async function memory(peer: Peer, name: string, count: number): Promise<object> {
  const before = residentMb(peer)
  await batchSend(peer, 'backlog', count)
  const full = residentMb(peer)
  await drain(peer, 'backlog')
  let after = residentMb(peer)
  for (let tries = 0; tries < 20 && after > before * 1.5; tries++) {
    await sleep(500)
    after = residentMb(peer)
  }
  return { [`${name}_at_${count / 1000}k_messages`]: full, [`${name}_before`]: before, [`${name}_after_drain`]: after }
}

function residentMb(peer: Peer): number {
  const status = readFileSync(`/proc/${peer.process.pid}/status`, 'utf8')
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024)
}
