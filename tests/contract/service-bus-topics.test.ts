import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { failureCode, openNamespace, type ContractNamespace } from './service-bus-namespace.ts'

const sql = (expression: string, action?: string) => ({
  FilterType: 'Sql',
  SqlFilter: { SqlExpression: expression },
  ...(action === undefined ? {} : { Action: { SqlExpression: action } }),
})
const layout = {
  topics: {
    events: {
      subscriptions: {
        all: {},
        cheap: { rules: [{ Name: 'cheap', Properties: sql("price < 10 AND sys.Label = 'offer'") }] },
        vip: {
          rules: [
            {
              Name: 'vip',
              Properties: {
                FilterType: 'Correlation',
                CorrelationFilter: { CorrelationId: 'vip', Properties: { tier: 'gold' } },
              },
            },
          ],
        },
        acted: {
          rules: [
            {
              Name: 'acted',
              Properties: sql("kind = 'act'", "SET price = price * 2; REMOVE secret; SET sys.Label = 'acted'"),
            },
          ],
        },
        both: {
          rules: [
            { Name: 'one', Properties: sql('price > 0') },
            { Name: 'two', Properties: sql('price > 1') },
          ],
        },
      },
    },
    managed: { subscriptions: { sub: {} } },
    scheduled: { subscriptions: { sub: {} } },
    empty: { subscriptions: {} },
    sessions: { subscriptions: { sub: { properties: { RequiresSession: true } } } },
    disabled: { properties: { Status: 'Disabled' }, subscriptions: {} },
  },
}

let namespace: ContractNamespace
beforeAll(async () => void (namespace = await openNamespace(layout)))
afterAll(() => namespace.close())

const receive = async (topic: string, subscription: string, max = 10, options = {}) => {
  const receiver = namespace
    .client()
    .createReceiver(namespace.name(topic), subscription, { receiveMode: 'receiveAndDelete', ...options })
  return receiver.receiveMessages(max, { maxWaitTimeInMs: 300 })
}

describe('rules of the configuration', () => {
  test('each subscription gets what its rules match, once', async () => {
    const sender = namespace.client().createSender(namespace.name('events'))
    await sender.sendMessages([
      { body: 'cheap', subject: 'offer', applicationProperties: { price: 5 } },
      { body: 'dear', subject: 'offer', applicationProperties: { price: 50 } },
      { body: 'vip', correlationId: 'vip', applicationProperties: { tier: 'gold' } },
      { body: 'almost', correlationId: 'vip', applicationProperties: { tier: 'silver' } },
      { body: 'act', subject: 'old', applicationProperties: { kind: 'act', price: 21, secret: 's', kept: 'k' } },
    ])
    const bodies = async (subscription: string) =>
      (await receive('events', subscription)).map(({ body }) => body as string)
    expect(await bodies('all')).toEqual(['cheap', 'dear', 'vip', 'almost', 'act'])
    expect(await bodies('cheap')).toEqual(['cheap'])
    expect(await bodies('vip')).toEqual(['vip'])
    expect(await bodies('both')).toEqual(['cheap', 'dear', 'act'])
    const [acted] = await receive('events', 'acted')
    expect(acted).toMatchObject({
      body: 'act',
      subject: 'acted',
      applicationProperties: { kind: 'act', price: 42, kept: 'k' },
    })
    expect(acted!.applicationProperties).not.toHaveProperty('secret')
  })

  test('sequence numbers are the subscription’s own, the topic’s is kept beside', async () => {
    const client = namespace.client()
    await client
      .createSender(namespace.name('events'))
      .sendMessages({ body: 'x', subject: 'offer', applicationProperties: { price: 1 } })
    const [message] = await receive('events', 'cheap')
    expect(message!.sequenceNumber!.toNumber()).toBe(2)
    expect(Number(message!.enqueuedSequenceNumber)).toBeGreaterThan(2)
  })

  test('a topic without subscriptions takes messages in', async () => {
    await namespace.client().createSender(namespace.name('empty')).sendMessages({ body: 1 })
  })

  test('a scheduled message reaches the subscriptions at its time', async () => {
    const sender = namespace.client().createSender(namespace.name('scheduled'))
    await sender.scheduleMessages({ body: 'later' }, new Date(namespace.now() + 30_000))
    expect(await receive('scheduled', 'sub')).toEqual([])
    await namespace.pass(30_000)
    expect((await receive('scheduled', 'sub')).map(({ body }) => body as string)).toEqual(['later'])
  })

  test('what a session subscription cannot take is dead-lettered there', async () => {
    const client = namespace.client()
    await client
      .createSender(namespace.name('sessions'))
      .sendMessages([{ body: 'lost' }, { body: 'kept', sessionId: 's' }])
    const session = await client.acceptSession(namespace.name('sessions'), 'sub', 's')
    expect((await session.receiveMessages(2, { maxWaitTimeInMs: 300 })).map(({ body }) => body as string)).toEqual([
      'kept',
    ])
    expect(
      (await receive('sessions', 'sub', 5, { subQueueType: 'deadLetter' })).map(({ body }) => body as string),
    ).toEqual(['lost'])
  })
})

describe('rule management', () => {
  test('rules can be listed, added and removed, and take effect at once', async () => {
    const client = namespace.client()
    const rules = client.createRuleManager(namespace.name('managed'), 'sub')
    const list = async () => {
      const found = []
      for await (const rule of rules.listRules()) found.push(rule)
      return found
    }
    expect(await list()).toEqual([{ name: '$Default', filter: { sqlExpression: '1=1' }, action: {} }])
    await rules.createRule('sql', { sqlExpression: "color = 'blue'" }, { sqlExpression: "SET seen = 'yes'" })
    await rules.createRule('correlation', { subject: 'wanted', correlationId: 'c', applicationProperties: { n: 'v' } })
    await rules.deleteRule('$Default')
    expect(await list()).toMatchObject([
      { name: 'sql', filter: { sqlExpression: "color = 'blue'" }, action: { sqlExpression: "SET seen = 'yes'" } },
      { name: 'correlation', filter: { subject: 'wanted', correlationId: 'c', applicationProperties: { n: 'v' } } },
    ])
    await client.createSender(namespace.name('managed')).sendMessages([
      { body: 'blue', applicationProperties: { color: 'blue' } },
      { body: 'red', applicationProperties: { color: 'red' } },
      { body: 'wanted', subject: 'wanted', correlationId: 'c', applicationProperties: { n: 'v' } },
    ])
    const received = await receive('managed', 'sub')
    expect(received.map(({ body }) => body as string)).toEqual(['blue', 'wanted'])
    expect(received[0]!.applicationProperties).toEqual({ color: 'blue', seen: 'yes' })
  })

  test('a name can be taken once, a missing rule cannot be removed, a bad expression is refused with its position', async () => {
    const rules = namespace.client().createRuleManager(namespace.name('events'), 'all')
    expect(await failureCode(rules.createRule('$Default', { sqlExpression: '1=1' }))).toBe(
      'MessagingEntityAlreadyExists',
    )
    expect(await failureCode(rules.deleteRule('missing'))).toBe('MessagingEntityNotFound')
    await expect(rules.createRule('bad', { sqlExpression: 'price = = 3' })).rejects.toThrow(/column 9/)
  })
})

describe('refusals', () => {
  test('a topic cannot be received from, a subscription not be sent to', async () => {
    const client = namespace.client()
    expect(
      await failureCode(client.createReceiver(namespace.name('events')).receiveMessages(1, { maxWaitTimeInMs: 100 })),
    ).toBe('GeneralError')
    expect(
      await failureCode(client.createSender(`${namespace.name('events')}/Subscriptions/all`).sendMessages({ body: 1 })),
    ).toBe('GeneralError')
  })

  test('an unknown subscription is MessagingEntityNotFound, a disabled topic MessagingEntityDisabled', async () => {
    const client = namespace.client()
    expect(
      await failureCode(
        client.createReceiver(namespace.name('events'), 'missing').receiveMessages(1, { maxWaitTimeInMs: 100 }),
      ),
    ).toBe('MessagingEntityNotFound')
    expect(await failureCode(client.createSender(namespace.name('disabled')).sendMessages({ body: 1 }))).toBe(
      'MessagingEntityDisabled',
    )
  })
})
