import { afterAll, beforeAll, expect, test } from 'vitest'
import { openNamespace, type ContractNamespace } from './service-bus-namespace.ts'

const layout = {
  queues: {
    target: {},
    source: { ForwardTo: 'target' },
    graves: {},
    failing: { MaxDeliveryCount: 1, ForwardDeadLetteredMessagesTo: 'graves' },
    'needs-session': { RequiresSession: true },
    refused: { MaxDeliveryCount: 1, ForwardDeadLetteredMessagesTo: 'needs-session' },
    'to-topic': { ForwardTo: 'events' },
    late: { ForwardTo: 'scheduled-target' },
    'scheduled-target': {},
  },
  topics: { events: { subscriptions: { sub: {}, onward: { properties: { ForwardTo: 'from-topic' } } } } },
}

let namespace: ContractNamespace
beforeAll(
  async () => void (namespace = await openNamespace({ ...layout, queues: { ...layout.queues, 'from-topic': {} } })),
)
afterAll(() => namespace.close())

const send = (queue: string, body: string) =>
  namespace.client().createSender(namespace.name(queue)).sendMessages({ body })
const receive = async (queue: string, max = 5) =>
  namespace
    .client()
    .createReceiver(namespace.name(queue), { receiveMode: 'receiveAndDelete' })
    .receiveMessages(max, { maxWaitTimeInMs: 300 })

test('forward-to moves messages on, with the number they first got', async () => {
  await send('target', 'direct')
  await send('source', 'forwarded')
  const messages = await receive('target')
  expect(messages.map(({ body }) => body as string)).toEqual(['direct', 'forwarded'])
  expect(messages[1]!.sequenceNumber!.toNumber()).toBe(2)
  expect(Number(messages[1]!.enqueuedSequenceNumber)).toBe(1)
})

test('a queue can forward to a topic, and a subscription to a queue', async () => {
  await send('to-topic', 'x')
  const subscription = namespace
    .client()
    .createReceiver(namespace.name('events'), 'sub', { receiveMode: 'receiveAndDelete' })
  expect((await subscription.receiveMessages(5, { maxWaitTimeInMs: 300 })).map(({ body }) => body as string)).toEqual([
    'x',
  ])
  expect((await receive('from-topic')).map(({ body }) => body as string)).toEqual(['x'])
})

test('a scheduled message is forwarded at its time', async () => {
  await namespace
    .client()
    .createSender(namespace.name('late'))
    .scheduleMessages({ body: 'later' }, new Date(namespace.now() + 20_000))
  expect(await receive('scheduled-target')).toEqual([])
  await namespace.pass(20_000)
  expect((await receive('scheduled-target')).map(({ body }) => body as string)).toEqual(['later'])
})

test('forwarded dead letters name the entity that dead-lettered them', async () => {
  const client = namespace.client()
  await send('failing', 'bad')
  const receiver = client.createReceiver(namespace.name('failing'))
  const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })
  await receiver.abandonMessage(message!)
  const [dead] = await receive('graves')
  expect(dead).toMatchObject({
    body: 'bad',
    deadLetterReason: 'MaxDeliveryCountExceeded',
    deadLetterSource: namespace.name('failing'),
  })
})

test('a dead letter that its target refuses stays in the dead-letter queue', async () => {
  const client = namespace.client()
  await send('refused', 'stays')
  const receiver = client.createReceiver(namespace.name('refused'))
  const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })
  await receiver.abandonMessage(message!)
  const graveyard = client.createReceiver(namespace.name('refused'), { subQueueType: 'deadLetter' })
  expect((await graveyard.peekMessages(5)).map(({ body }) => body as string)).toEqual(['stays'])
})
