import { EventHubConsumerClient } from '@azure/event-hubs'
import { startAmqpEmulator } from '@sluice/emulator-amqp'
import { connectServiceBus, createEventHubSender, createSender } from '@sluice/messaging'
import { createLogger } from '@sluice/telemetry'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { expect, onTestFinished, test } from 'vitest'
import { eventually, openBroker } from './messaging-fixture.ts'

test('concurrent sends arrive, each once, with ids of their own', async () => {
  const broker = await openBroker()
  await Promise.all(Array.from({ length: 500 }, (_, index) => broker.sender.send({ body: { index } })))
  const receiver = broker.sdk.createReceiver('q', { receiveMode: 'receiveAndDelete' })
  const bodies = new Set<number>()
  const ids = new Set<unknown>()
  while (ids.size < 500) {
    for (const { body, messageId } of await receiver.receiveMessages(500, { maxWaitTimeInMs: 5000 })) {
      bodies.add((body as { index: number }).index)
      ids.add(messageId)
    }
  }
  expect([bodies.size, ids.size, await broker.left()]).toEqual([500, 500, 0])
})

test('each of several concurrent sends has its own fate', async () => {
  const broker = await openBroker()
  const controller = new AbortController()
  controller.abort(new Error('given up'))
  const results = await Promise.allSettled([
    broker.sender.send({ body: 'small' }),
    broker.sender.send({ body: Buffer.alloc(2 * 1024 * 1024) }),
    broker.sender.send({ body: 'given up' }, controller.signal),
    broker.sender.send({ body: 'cannot be encoded', messageId: 'x'.repeat(129) }),
    broker.sender.send({ body: 'also small' }),
  ])
  expect(results.map((result) => (result.status === 'fulfilled' ? 'sent' : String(result.reason)))).toEqual([
    'sent',
    'AppError: send to q: larger than the broker takes',
    'Error: given up',
    'AppError: send to q: cannot be encoded',
    'sent',
  ])
  expect(await broker.left()).toBe(2)
})

test('more than a batch holds becomes several batches', async () => {
  const broker = await openBroker()
  const body = Buffer.alloc(100_000)
  await Promise.all(Array.from({ length: 30 }, () => broker.sender.send({ body })))
  expect(await broker.left()).toBe(30)
})

test('messages of different sessions each keep their session', async () => {
  const broker = await openBroker()
  const sender = createSender(broker.serviceBus, 'sessions')
  const sessions = ['a', 'b', 'a', 'c', 'b']
  await Promise.all(sessions.map((sessionId, index) => sender.send({ body: `${index}`, sessionId })))
  const a = await broker.sdk.acceptSession('sessions', 'a', {
    receiveMode: 'receiveAndDelete',
    skipParsingBodyAsJson: true,
  })
  const messages = await a.receiveMessages(2, { maxWaitTimeInMs: 5000 })
  expect(messages.map(({ body }) => String(body))).toEqual(['0', '2'])
  await a.close()
  await sender.close()
})

test('a send that the broker refuses is not tried for ever', async () => {
  const broker = await openBroker()
  await broker.fault({ kind: 'throttle', operation: 'send', entity: 'q' })
  await expect(broker.sender.send({ body: 'x' })).rejects.toMatchObject({
    code: 'queue_unavailable',
    retryAfterMs: 10_000,
  })
  await broker.clearFaults()
  await broker.sender.send({ body: 'x' })
  expect(await broker.left()).toBe(1)
})

test('sends survive a dropped connection', async () => {
  const broker = await openBroker()
  await broker.sender.send({ body: 'before' })
  await broker.fault({ kind: 'drop-connections' })
  await broker.sender.send({ body: 'after' })
  expect(await broker.left()).toBe(2)
})

test('a message that is scheduled comes at its time, and not before', async () => {
  const broker = await openBroker()
  const atMs = Date.now() + 700
  const number = await broker.sender.schedule({ body: 'later' }, new Date(atMs))
  const receiver = broker.sdk.createReceiver('q')
  const [waiting] = await receiver.peekMessages(1)
  expect([waiting?.state, waiting?.sequenceNumber?.toString()]).toEqual(['scheduled', number])
  const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 10_000 })
  expect(message?.messageId).toBe(waiting?.messageId)
  expect(Date.now()).toBeGreaterThanOrEqual(atMs - 20)
})

test('a peer that never answers costs a send its deadline and no more', async () => {
  const silent = createServer((socket) => socket.resume())
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as { port: number }
  const connectionString = `Endpoint=sb://localhost:${port};SharedAccessKeyName=x;SharedAccessKey=eQ==;UseDevelopmentEmulator=true`
  const serviceBus = connectServiceBus(
    { connectionString },
    { logger: createLogger({ service: 'x', level: 'silent' }) },
  )
  onTestFinished(async () => {
    await serviceBus.close()
    silent.close()
  })
  const sender = createSender(serviceBus, 'q')
  const startMs = performance.now()
  await expect(sender.send({ body: 'x' })).rejects.toMatchObject({ code: 'queue_unavailable' })
  expect(performance.now() - startMs).toBeLessThan(12_000)
  const signal = AbortSignal.timeout(50)
  await expect(sender.send({ body: 'x' }, signal)).rejects.toMatchObject({ name: 'TimeoutError' })
})

test('without an address there is a clear error', () => {
  const logger = createLogger({ service: 'x', level: 'silent' })
  expect(() => connectServiceBus({}, { logger })).toThrow(/connection string or a namespace/)
  expect(() => createEventHubSender({ hub: 'h' })).toThrow(/connection string or a namespace/)
})

test('events arrive with their key, type and properties, in order per key', async () => {
  const emulator = await startAmqpEmulator({
    eventHubsConfig: {
      UserConfig: {
        NamespaceConfig: [
          {
            Type: 'EventHub',
            Name: 'emulatorNs1',
            Entities: [{ Name: 'results', PartitionCount: 4, ConsumerGroups: [{ Name: 'cg1' }] }],
          },
        ],
      },
    },
  })
  onTestFinished(() => emulator.close())
  const sender = createEventHubSender({ connectionString: emulator.eventHubsConnectionString, hub: 'results' })
  const consumer = new EventHubConsumerClient('cg1', emulator.eventHubsConnectionString, 'results')
  const seen = new Map<string, { n: number; contentType: string | undefined; tenant: unknown }[]>()
  const subscription = consumer.subscribe(
    {
      processEvents: async (events) => {
        for (const { body, partitionKey, contentType, properties } of events) {
          const key = String(partitionKey)
          seen.set(key, [
            ...(seen.get(key) ?? []),
            { n: (body as { n: number }).n, contentType, tenant: properties?.tenant },
          ])
        }
      },
      processError: async () => {},
    },
    { startPosition: { isInclusive: true, sequenceNumber: 0 } },
  )
  onTestFinished(async () => {
    await subscription.close()
    await consumer.close()
  })
  const keys = ['contoso', 'fabrikam', 'tailspin']
  await Promise.all(
    Array.from({ length: 90 }, (_, index) =>
      sender.send({
        body: { n: Math.floor(index / 3) },
        contentType: 'application/cloudevents+json',
        partitionKey: keys[index % 3] ?? '',
        properties: { tenant: keys[index % 3] ?? '' },
      }),
    ),
  )
  await expect(sender.send({ body: Buffer.alloc(3 * 1024 * 1024), partitionKey: 'contoso' })).rejects.toMatchObject({
    code: 'message_too_large',
  })
  await eventually(() => [...seen.values()].flat().length === 90)
  for (const key of keys) {
    expect(seen.get(key)).toEqual(
      Array.from({ length: 30 }, (_, n) => ({ n, contentType: 'application/cloudevents+json', tenant: key })),
    )
  }
  await sender.close()
  await expect(sender.send({ body: 'x', partitionKey: 'y' })).rejects.toMatchObject({ code: 'queue_unavailable' })
})
