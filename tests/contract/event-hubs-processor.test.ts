import { EventHubConsumerClient } from '@azure/event-hubs'
import { BlobCheckpointStore } from '@azure/eventhubs-checkpointstore-blob'
import { ContainerClient } from '@azure/storage-blob'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openEventHubs, type EventHubsNamespace } from './event-hubs-namespace.ts'
import { eventually } from './service-bus-namespace.ts'

const partitionCount = 4

let namespace: EventHubsNamespace
let azurite: ChildProcess
let blobConnectionString: string

beforeAll(async () => {
  namespace = await openEventHubs([
    { Name: 'balanced', PartitionCount: partitionCount },
    { Name: 'resumed', PartitionCount: partitionCount },
  ])
  const main = createRequire(import.meta.url).resolve('azurite/dist/src/blob/main.js')
  azurite = spawn(
    process.execPath,
    [
      main,
      '--blobHost',
      '127.0.0.1',
      '--blobPort',
      '0',
      '--inMemoryPersistence',
      '--silent',
      '--disableTelemetry',
      '--skipApiVersionCheck',
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  for await (const line of createInterface(azurite.stdout!)) {
    const port = /successfully listens on http:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (port === undefined) continue
    const key = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='
    blobConnectionString = `DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=${key};BlobEndpoint=http://127.0.0.1:${port}/devstoreaccount1;`
    break
  }
})
afterAll(async () => {
  await namespace.close()
  azurite.kill('SIGKILL')
  await once(azurite, 'exit')
})

const processor = async (hub: string, container: string, onEvent: (body: unknown) => void) => {
  const client = new ContainerClient(blobConnectionString, container)
  await client.createIfNotExists()
  const consumer = new EventHubConsumerClient(
    '$Default',
    namespace.connectionString,
    namespace.name(hub),
    new BlobCheckpointStore(client),
    {
      loadBalancingOptions: {
        strategy: 'greedy',
        updateIntervalInMs: 300,
        partitionOwnershipExpirationIntervalInMs: 5000,
      },
    },
  )
  const owned = new Set<string>()
  const subscription = consumer.subscribe(
    {
      processInitialize: async ({ partitionId }) => void owned.add(partitionId),
      processClose: async (_reason, { partitionId }) => void owned.delete(partitionId),
      processEvents: async (events, context) => {
        for (const { body } of events) onEvent(body)
        const last = events.at(-1)
        if (last !== undefined) await context.updateCheckpoint(last)
      },
      processError: async () => undefined,
    },
    { startPosition: { offset: '-1' }, maxWaitTimeInSeconds: 0.5 },
  )
  return {
    owned,
    stop: async () => {
      await subscription.close()
      await consumer.close()
    },
  }
}

const publish = async (hub: string, bodies: string[]): Promise<void> => {
  const producer = namespace.producer(hub)
  for (const [index, body] of bodies.entries())
    await producer.sendBatch([{ body }], { partitionId: String(index % partitionCount) })
}

test('two consumers share the partitions, and every event is processed', async () => {
  const seen = { one: new Set<unknown>(), two: new Set<unknown>() }
  const one = await processor('balanced', 'balanced', (body) => seen.one.add(body))
  await eventually(() => one.owned.size === partitionCount, 15_000)
  const two = await processor('balanced', 'balanced', (body) => seen.two.add(body))
  await eventually(() => one.owned.size === partitionCount / 2 && two.owned.size === partitionCount / 2, 20_000)
  const bodies = Array.from({ length: 40 }, (_, index) => `event-${index}`)
  await publish('balanced', bodies)
  await eventually(() => bodies.every((body) => seen.one.has(body) || seen.two.has(body)), 15_000)
  await Promise.all([one.stop(), two.stop()])
  expect(seen.one.size).toBeGreaterThan(0)
  expect(seen.two.size).toBeGreaterThan(0)
}, 60_000)

test('a consumer that starts again goes on behind its checkpoints', async () => {
  const first: string[] = []
  await publish('resumed', ['a', 'b', 'c', 'd'])
  const one = await processor('resumed', 'resumed', (body) => first.push(String(body)))
  await eventually(() => first.length === 4, 15_000)
  await one.stop()
  await publish('resumed', ['e', 'f', 'g', 'h'])
  const second: string[] = []
  const two = await processor('resumed', 'resumed', (body) => second.push(String(body)))
  await eventually(() => second.length >= 4, 15_000)
  await two.stop()
  expect(new Set(second)).toEqual(new Set(['e', 'f', 'g', 'h']))
}, 60_000)
