import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { EventHubConsumerClient } from '@azure/event-hubs'
import { ContainerClient } from '@azure/storage-blob'
import { startAmqpEmulator } from '@sluice/emulator-amqp'
import { createDeliveries } from '@sluice/ledger'
import { complete, createEventHubSender, type Delivery } from '@sluice/messaging'
import { systemClock } from '@sluice/resilience'
import { createLogger, createMetrics } from '@sluice/telemetry'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createDeliveryMetrics } from '../../services/notifier/src/delivery-metrics.ts'
import { handleDirectSink } from '../../services/notifier/src/handle-direct-sink.ts'
import { perName } from '../../services/notifier/src/per-name.ts'
import { eventHubsSink } from '../../services/notifier/src/sinks.ts'
import { eventually, finished } from './notifier-fixture.ts'
import { startAzurite, startStorage, type StandIns } from './storage-stand-ins.ts'

vi.setConfig({ testTimeout: 150_000 })

const hub = (Name: string) => ({ Name, PartitionCount: 4 })
const eventHubsConfig = {
  UserConfig: { NamespaceConfig: [{ Type: 'EventHub', Name: 'ns', Entities: [hub('results'), hub('fabrikam')] }] },
}
let amqp: Awaited<ReturnType<typeof startAmqpEmulator>>
let azurite: Awaited<ReturnType<typeof startAzurite>>
let stores: StandIns
beforeAll(async () => {
  ;[amqp, azurite, stores] = await Promise.all([startAmqpEmulator({ eventHubsConfig }), startAzurite(), startStorage()])
})
afterAll(async () => {
  await Promise.all([amqp.close(), azurite.stop(), stores.stop()])
})

async function startSink(maxBytes = 1_000_000) {
  const cosmos = await stores.database()
  const logger = createLogger({ service: 'test', level: 'silent' })
  const hubs = perName((name) => createEventHubSender({ connectionString: amqp.eventHubsConnectionString, hub: name }))
  const deps = {
    deliveries: createDeliveries({ cosmos, clock: systemClock, logger }),
    blobs: stores.blobs,
    findTargets: async () => [],
    clock: systemClock,
    logger,
    metrics: createDeliveryMetrics(createMetrics('test')),
  }
  const sink = { ...eventHubsSink((tenant) => hubs.of(tenant === 'fabrikam' ? 'fabrikam' : 'results')), maxBytes }
  const handle = handleDirectSink(deps, sink)
  return {
    send: (event: ReturnType<typeof finished>, conversation?: string) =>
      handle(
        {
          body: Buffer.from(JSON.stringify(event)),
          deliveryCount: 0,
          properties: { deliver: '[{"type":"event-hubs"}]', ...(conversation === undefined ? {} : { conversation }) },
        } as unknown as Delivery,
        new AbortController().signal,
      ),
    close: () => hubs.close(),
  }
}

/** Events of all partitions whose handling a consumer has noted. */
async function noted(container: string): Promise<number> {
  const client = new ContainerClient(azurite.connectionString, container)
  let events = 0
  for await (const { name, metadata } of client.listBlobsFlat({ includeMetadata: true })) {
    if (name.includes('/checkpoint/')) events += Number(metadata?.sequencenumber) + 1
  }
  return events
}

function consume(envFile: string, container: string) {
  const seen: string[] = []
  const child: ChildProcess = spawn(process.execPath, ['docs/examples/consume-results.ts'], {
    env: { ...process.env, STACK_ENV: envFile, CONTAINER: container },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (child.stdout === null) throw new Error('the example has no output')
  createInterface({ input: child.stdout }).on('line', (line) => {
    const id = /^(req_\S+)/.exec(line)?.[1]
    if (id !== undefined) seen.push(id)
  })
  const end = async (signal: NodeJS.Signals) => {
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }
  return { seen, end }
}

test('the example reads every event, in order within a conversation, and goes on where it was killed', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-hubs-'))
  const envFile = join(dir, 'stack.env')
  writeFileSync(
    envFile,
    `EVENT_HUBS_CONNECTION_STRING='${amqp.eventHubsConnectionString}'\n` +
      `AZURE_STORAGE_CONNECTION_STRING='${azurite.connectionString}'\n`,
  )
  const sink = await startSink()
  const first = Array.from({ length: 40 }, () => finished())
  for (const [n, event] of first.entries()) expect(await sink.send(event, `conv-${n % 4}`)).toEqual(complete())
  const one = consume(envFile, 'positions')
  await eventually(() => first.every(({ id }) => one.seen.includes(id)))
  for (const rest of [0, 1, 2, 3]) {
    const ids = first.filter((_, n) => n % 4 === rest).map(({ id }) => id)
    expect(one.seen.filter((id) => ids.includes(id))).toEqual(ids)
  }
  // A kill before the positions are noted would rightly bring events again.
  await eventually(async () => (await noted('positions')) === first.length)
  await one.end('SIGKILL')
  const second = Array.from({ length: 5 }, () => finished())
  for (const event of second) await sink.send(event)
  const two = consume(envFile, 'positions')
  await eventually(() => second.every(({ id }) => two.seen.includes(id)))
  // What was noted does not come again.
  expect(two.seen.toSorted()).toEqual(second.map(({ id }) => id).toSorted())
  await two.end('SIGTERM')
  await sink.close()
  rmSync(dir, { recursive: true, force: true })
})

test('a tenant with a hub of its own, and an event over the limit', async () => {
  const sink = await startSink(2_000)
  const large = finished('fabrikam', { data: { id: 'req_1', custom_id: 'c', answer: 'x'.repeat(5_000) } })
  await sink.send(large)
  const consumer = new EventHubConsumerClient('$Default', amqp.eventHubsConnectionString, 'fabrikam')
  const bodies: { id: string; data: { event_ref: { url: string } } }[] = []
  const keys: (string | undefined)[] = []
  const subscription = consumer.subscribe(
    {
      processEvents: async (events) => {
        for (const { body, partitionKey } of events) {
          bodies.push(body as (typeof bodies)[number])
          keys.push(partitionKey ?? undefined)
        }
      },
      processError: async () => {},
    },
    { startPosition: { offset: '-1' } },
  )
  await eventually(() => bodies.length === 1)
  expect(bodies[0]).toMatchObject({ id: large.id, data: { id: 'req_1', custom_id: 'c' } })
  expect(keys).toEqual(['fabrikam'])
  expect(await (await fetch(bodies[0]?.data.event_ref.url ?? '')).json()).toEqual(large)
  await subscription.close()
  await consumer.close()
  await sink.close()
})
