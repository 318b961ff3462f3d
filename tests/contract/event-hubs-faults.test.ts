import { EventHubConsumerClient, EventHubProducerClient } from '@azure/event-hubs'
import { startAmqpEmulator, type AmqpEmulator } from '@sluice/emulator-amqp'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readEvents } from './event-hubs-namespace.ts'
import { eventually, failureCode } from './service-bus-namespace.ts'

const eventHubsConfig = {
  UserConfig: {
    NamespaceConfig: [{ Type: 'EventHub', Name: 'ns', Entities: [{ Name: 'hub', PartitionCount: 1 }] }],
  },
}

const retryOptions = { maxRetries: 0, timeoutInMs: 10_000 }

let emulator: AmqpEmulator
let producer: EventHubProducerClient
beforeAll(async () => {
  emulator = await startAmqpEmulator({ eventHubsConfig })
  producer = new EventHubProducerClient(emulator.eventHubsConnectionString, 'hub', { retryOptions })
})
afterAll(async () => {
  await producer.close()
  await emulator.close()
})

const consumer = (options = {}) =>
  new EventHubConsumerClient('$Default', emulator.eventHubsConnectionString, 'hub', options)
const add = async (fault: object): Promise<void> => {
  const { status } = await fetch(`http://127.0.0.1:${emulator.controlPort}/_control/faults`, {
    method: 'POST',
    body: JSON.stringify(fault),
  })
  expect(status).toBe(200)
}

test('a hub that is throttled or refuses fails as many sends as asked, and keeps nothing of them', async () => {
  const { lastEnqueuedSequenceNumber: before } = await producer.getPartitionProperties('0')
  await add({ kind: 'throttle', operation: 'send', entity: 'hub', count: 1 })
  expect(await failureCode(producer.sendBatch([{ body: 1 }]))).toBe('ServerBusyError')
  await add({ kind: 'refuse', operation: 'send', condition: 'amqp:resource-limit-exceeded', count: 1 })
  expect(await failureCode(producer.sendBatch([{ body: 2 }]))).toBe('QuotaExceededError')
  await producer.sendBatch([{ body: 3 }])
  expect((await producer.getPartitionProperties('0')).lastEnqueuedSequenceNumber).toBe(before + 1)
})

test('a refused attach fails the consumer with the condition asked for', async () => {
  await add({ kind: 'refuse', operation: 'attach', entity: 'hub', condition: 'amqp:unauthorized-access', count: 1 })
  const client = consumer({ retryOptions })
  expect(await failureCode(readEvents(client, '0', { offset: '-1' }, 1, { maxBatchSize: 1 }))).toBe('UnauthorizedError')
  await client.close()
})

test('a consumer whose connection is dropped goes on where it was', async () => {
  await producer.sendBatch([{ body: 'marker' }])
  const { lastEnqueuedSequenceNumber: start } = await producer.getPartitionProperties('0')
  const client = consumer()
  const bodies: unknown[] = []
  const subscription = client.subscribe(
    '0',
    {
      processEvents: async (events) => void bodies.push(...events.map(({ body }) => body as string)),
      processError: async () => undefined,
    },
    { startPosition: { sequenceNumber: start, isInclusive: true }, maxWaitTimeInSeconds: 1 },
  )
  await eventually(() => bodies.length === 1)
  await add({ kind: 'drop-connections' })
  const again = new EventHubProducerClient(emulator.eventHubsConnectionString, 'hub')
  await again.sendBatch([{ body: 'after' }])
  await eventually(() => bodies.length >= 2, 20_000)
  expect(bodies).toEqual(['marker', 'after'])
  await subscription.close()
  await client.close()
  await again.close()
}, 40_000)
