import { ServiceBusAdministrationClient, type RuleProperties } from '@azure/service-bus'
import { startAmqpEmulator } from '@sluice/emulator-amqp'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { realAzure } from './real-azure.ts'
import { configOf, failureCode, onAzure, openNamespace, type ContractNamespace } from './service-bus-namespace.ts'

const acting = {
  Name: 'acting',
  Properties: {
    FilterType: 'Sql',
    SqlFilter: { SqlExpression: "sys.MessageId = '1' AND n < 5" },
    Action: { SqlExpression: "SET sys.To = 'x'" },
  },
}
const correlated = {
  Name: 'correlated',
  Properties: {
    FilterType: 'Correlation',
    CorrelationFilter: { Subject: 'a<b', ContentType: 'text/plain', ApplicationProperties: { text: 'value' } },
  },
}
const layout = {
  queues: {
    counted: {
      LockDuration: 'PT30S',
      MaxDeliveryCount: 7,
      DefaultMessageTimeToLive: 'P14D',
      DeadLetteringOnMessageExpiration: true,
    },
    sessions: { RequiresSession: true, RequiresDuplicateDetection: true, DuplicateDetectionHistoryTimeWindow: 'PT5M' },
  },
  topics: {
    topic: { subscriptions: { one: {}, two: {} } },
    ruled: { subscriptions: { filtered: { rules: [acting, correlated] } } },
  },
}

let namespace: ContractNamespace
let admin: ServiceBusAdministrationClient
beforeAll(async () => {
  namespace = await openNamespace(layout)
  const azure = realAzure.serviceBus ?? ''
  admin = onAzure
    ? new ServiceBusAdministrationClient(azure)
    : new ServiceBusAdministrationClient(namespace.emulator!.administrationConnectionString, {
        tlsOptions: { ca: namespace.emulator!.administrationCertificate },
      })
})
afterAll(() => namespace.close())

test('runtime properties count active, scheduled and dead messages of a queue', async () => {
  const client = namespace.client()
  const name = namespace.name('counted')
  const sender = client.createSender(name)
  const before = Date.now()
  await sender.sendMessages([{ body: 1 }, { body: 2 }, { body: 3 }])
  await sender.scheduleMessages({ body: 4 }, new Date(Date.now() + 600_000))
  const receiver = client.createReceiver(name)
  const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })
  await receiver.deadLetterMessage(message!)
  const properties = await admin.getQueueRuntimeProperties(name)
  expect(properties).toMatchObject({
    name,
    activeMessageCount: 2,
    scheduledMessageCount: 1,
    deadLetterMessageCount: 1,
    totalMessageCount: 4,
  })
  expect(properties.sizeInBytes).toBeGreaterThan(0)
  expect(properties.accessedAt.getTime()).toBeGreaterThanOrEqual(before - 1000)
})

test('properties are those of the configuration', async () => {
  expect(await admin.getQueue(namespace.name('counted'))).toMatchObject({
    lockDuration: 'PT30S',
    maxDeliveryCount: 7,
    defaultMessageTimeToLive: 'P14D',
    deadLetteringOnMessageExpiration: true,
    requiresSession: false,
    status: 'Active',
  })
  expect(await admin.getQueue(namespace.name('sessions'))).toMatchObject({
    requiresSession: true,
    requiresDuplicateDetection: true,
    duplicateDetectionHistoryTimeWindow: 'PT5M',
  })
})

test('topics and subscriptions have counts of their own', async () => {
  const client = namespace.client()
  const topic = namespace.name('topic')
  await client.createSender(topic).sendMessages([{ body: 1 }, { body: 2 }])
  await client.createSender(topic).scheduleMessages({ body: 3 }, new Date(Date.now() + 600_000))
  await client
    .createReceiver(topic, 'two', { receiveMode: 'receiveAndDelete' })
    .receiveMessages(1, { maxWaitTimeInMs: 5000 })
  expect(await admin.getTopicRuntimeProperties(topic)).toMatchObject({
    name: topic,
    subscriptionCount: 2,
    scheduledMessageCount: 1,
  })
  expect(await admin.getSubscriptionRuntimeProperties(topic, 'one')).toMatchObject({
    topicName: topic,
    subscriptionName: 'one',
    activeMessageCount: 2,
    totalMessageCount: 2,
  })
  expect(await admin.getSubscriptionRuntimeProperties(topic, 'two')).toMatchObject({
    activeMessageCount: 1,
    deadLetterMessageCount: 0,
  })
})

describe('lists', () => {
  const names = async (list: AsyncIterable<{ name: string }>) => {
    const found: string[] = []
    for await (const { name } of list) found.push(name)
    return found
  }

  test('queues, topics and subscriptions', async () => {
    expect(await names(admin.listQueues())).toEqual(
      expect.arrayContaining([namespace.name('counted'), namespace.name('sessions')]),
    )
    expect(await names(admin.listQueuesRuntimeProperties())).toContain(namespace.name('counted'))
    expect(await names(admin.listTopics())).toContain(namespace.name('topic'))
    const subscriptions: string[] = []
    for await (const { subscriptionName } of admin.listSubscriptionsRuntimeProperties(namespace.name('topic')))
      subscriptions.push(subscriptionName)
    expect(subscriptions.toSorted((a, b) => a.localeCompare(b))).toEqual(['one', 'two'])
  })

  test.skipIf(onAzure)('long lists come in pages', async () => {
    const many = Object.fromEntries(Array.from({ length: 130 }, (_, index) => [`q${index}`, {}]))
    const emulator = await startAmqpEmulator({ serviceBusConfig: configOf({ queues: many }) })
    const client = new ServiceBusAdministrationClient(emulator.administrationConnectionString, {
      tlsOptions: { ca: emulator.administrationCertificate },
    })
    expect((await names(client.listQueues())).length).toBe(130)
    await emulator.close()
  })
})

test('rules are listed and read with their filters and actions', async () => {
  const topic = namespace.name('ruled')
  const found = new Map<string, RuleProperties>()
  for await (const rule of admin.listRules(topic, 'filtered')) found.set(rule.name, rule)
  expect([...found.keys()].sort()).toEqual(['acting', 'correlated'])
  expect(found.get('acting')).toMatchObject({
    filter: { sqlExpression: "sys.MessageId = '1' AND n < 5" },
    action: { sqlExpression: "SET sys.To = 'x'" },
  })
  expect(found.get('correlated')?.filter).toMatchObject({
    subject: 'a<b',
    contentType: 'text/plain',
    applicationProperties: { text: 'value' },
  })
  expect((await admin.getRule(topic, 'filtered', 'acting')).name).toBe('acting')
  expect((await admin.getRule(namespace.name('topic'), 'one', '$Default')).filter).toMatchObject({
    sqlExpression: '1=1',
  })
  expect(await admin.ruleExists(topic, 'filtered', 'missing')).toBe(false)
})

test('what does not exist is not found, and says so', async () => {
  expect(await failureCode(admin.getQueueRuntimeProperties('missing'))).toBe('MessageEntityNotFoundError')
  expect(await admin.queueExists('missing')).toBe(false)
  expect(await admin.queueExists(namespace.name('counted'))).toBe(true)
  expect(await admin.subscriptionExists(namespace.name('topic'), 'missing')).toBe(false)
})

test('the namespace describes itself', async () => {
  expect(await admin.getNamespaceProperties()).toMatchObject({
    createdAt: expect.any(Date) as Date,
    messagingSku: expect.any(String) as string,
  })
})

describe.skipIf(onAzure)('trust and rights', () => {
  test('a client that does not trust the certificate is refused', async () => {
    const client = new ServiceBusAdministrationClient(namespace.emulator!.administrationConnectionString, {
      retryOptions: { maxRetries: 0 },
    })
    await expect(client.getQueue('counted')).rejects.toThrow(/self-signed/)
  })

  test('with keys in the configuration, only a key that may manage is accepted', async () => {
    const rules = [
      { KeyName: 'root', PrimaryKey: 'secret' },
      { KeyName: 'listener', PrimaryKey: 'l', Rights: 'Listen' },
    ]
    const emulator = await startAmqpEmulator({
      serviceBusConfig: { UserConfig: { Namespaces: [{ Queues: [{ Name: 'q' }], AuthorizationRules: rules }] } },
    })
    const connect = (key: string) =>
      new ServiceBusAdministrationClient(`Endpoint=sb://localhost:${emulator.administrationPort};${key}`, {
        tlsOptions: { ca: emulator.administrationCertificate },
      })
    expect((await connect('SharedAccessKeyName=root;SharedAccessKey=secret').getQueue('q')).name).toBe('q')
    expect(await failureCode(connect('SharedAccessKeyName=root;SharedAccessKey=wrong').getQueue('q'))).toBe(
      'UnauthorizedRequestError',
    )
    expect(await failureCode(connect('SharedAccessKeyName=listener;SharedAccessKey=l').getQueue('q'))).toBe(
      'UnauthorizedRequestError',
    )
    await emulator.close()
  })

  test('entities are made by the configuration, not through this API', async () => {
    await expect(admin.createQueue('new')).rejects.toMatchObject({ statusCode: 405 })
  })
})
