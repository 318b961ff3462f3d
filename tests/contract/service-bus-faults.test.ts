import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { eventually, failureCode, onAzure, openNamespace, type ContractNamespace } from './service-bus-namespace.ts'

const queues = {
  drop: {},
  lose: {},
  refuse: {},
  busy: {},
  delay: {},
  state: {},
  session: { RequiresSession: true },
  reset: {},
  attach: {},
}

let namespace: ContractNamespace
beforeAll(async () => void (namespace = await openNamespace({ queues })))
afterAll(() => namespace.close())

const control = async (method: string, path: string, body?: unknown): Promise<{ status: number; json: unknown }> => {
  const response = await fetch(`http://127.0.0.1:${namespace.emulator!.controlPort}/_control/${path}`, {
    method,
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    signal: AbortSignal.timeout(5000),
  })
  return { status: response.status, json: await response.json() }
}

describe.skipIf(onAzure)('faults on purpose', () => {
  afterEach(() => control('DELETE', 'faults'))

  test('dropped connections: a subscriber reconnects and misses nothing', async () => {
    const client = namespace.client({ retryOptions: { maxRetries: 5, retryDelayInMs: 50, timeoutInMs: 5000 } })
    const seen = new Set<unknown>()
    const receiver = client.createReceiver('drop')
    receiver.subscribe({ processMessage: async ({ body }) => void seen.add(body), processError: async () => undefined })
    const sender = namespace
      .client({ retryOptions: { maxRetries: 5, retryDelayInMs: 50, timeoutInMs: 5000 } })
      .createSender('drop')
    await sender.sendMessages({ body: 1 })
    await eventually(() => seen.has(1))
    expect(await control('POST', 'faults', { kind: 'drop-connections' })).toMatchObject({
      status: 200,
      json: [{ dropped: 2 }],
    })
    await sender.sendMessages({ body: 2 })
    await eventually(() => seen.has(2), 20_000)
    await receiver.close()
  })

  test('lost locks: settling fails and the message comes again', async () => {
    const client = namespace.client()
    await client.createSender('lose').sendMessages({ body: 1 })
    const receiver = client.createReceiver('lose')
    const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })
    expect((await control('POST', 'faults', { kind: 'lose-locks', entity: 'LOSE' })).json).toEqual([{ lost: 1 }])
    expect(await failureCode(receiver.completeMessage(message!))).toBe('MessageLockLost')
    expect(
      (await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })).map(({ deliveryCount }) => deliveryCount),
    ).toEqual([1])
  })

  test('lost locks end sessions too', async () => {
    const client = namespace.client()
    const receiver = await client.acceptSession('session', 's')
    await control('POST', 'faults', { kind: 'lose-locks', entity: 'session' })
    await eventually(() => receiver.isClosed)
    expect((await client.acceptSession('session', 's')).sessionId).toBe('s')
  })

  test('throttling is server-busy, for as many operations as asked', async () => {
    const sender = namespace.client().createSender('busy')
    await control('POST', 'faults', { kind: 'throttle', operation: 'send', entity: 'busy', count: 2 })
    expect(await failureCode(sender.sendMessages({ body: 1 }))).toBe('ServiceBusy')
    expect(await failureCode(sender.sendMessages({ body: 2 }))).toBe('ServiceBusy')
    await sender.sendMessages({ body: 3 })
  })

  test('a refusal carries the condition asked for: on sends, settlements, requests and attaches', async () => {
    const client = namespace.client()
    const [sender, receiver] = [client.createSender('refuse'), client.createReceiver('refuse')]
    await sender.sendMessages({ body: 1 })
    const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })
    await control('POST', 'faults', [
      {
        kind: 'refuse',
        operation: 'send',
        condition: 'amqp:resource-limit-exceeded',
        description: 'full',
        entity: 'refuse',
      },
      { kind: 'refuse', operation: 'settle', condition: 'com.microsoft:message-lock-lost', entity: 'refuse' },
      { kind: 'refuse', operation: 'management', condition: 'amqp:not-allowed', entity: 'refuse' },
      { kind: 'refuse', operation: 'attach', condition: 'amqp:unauthorized-access', entity: 'attach' },
    ])
    expect(await failureCode(sender.sendMessages({ body: 2 }))).toBe('QuotaExceeded')
    expect(await failureCode(receiver.completeMessage(message!))).toBe('MessageLockLost')
    expect(await failureCode(receiver.peekMessages(1))).toBe('GeneralError')
    expect(await failureCode(client.createSender('attach').sendMessages({ body: 1 }))).toBe('UnauthorizedAccess')
  })

  test('a delay holds the operation back: sends, settlements, requests and attaches', async () => {
    const client = namespace.client()
    const [sender, receiver] = [client.createSender('delay'), client.createReceiver('delay')]
    const slowed = async (operation: string, act: () => Promise<unknown>): Promise<number> => {
      await control('POST', 'faults', { kind: 'delay', operation, entity: 'delay', delayMs: 400, count: 1 })
      const before = performance.now()
      await act()
      return performance.now() - before
    }
    await sender.sendMessages({ body: 1 })
    const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })
    await receiver.peekMessages(1)
    expect(await slowed('send', () => sender.sendMessages({ body: 2 }))).toBeGreaterThan(380)
    expect(await slowed('settle', () => receiver.completeMessage(message!))).toBeGreaterThan(380)
    expect(await slowed('management', () => receiver.peekMessages(1))).toBeGreaterThan(380)
    expect(await slowed('attach', () => client.createSender('delay').sendMessages({ body: 3 }))).toBeGreaterThan(380)
  })

  test('the state shows counts, and a reset empties every entity', async () => {
    const client = namespace.client()
    await client.createSender('state').sendMessages([{ body: 1 }, { body: 2 }])
    await client.createSender('state').scheduleMessages({ body: 3 }, new Date(Date.now() + 60_000))
    const { json } = await control('GET', 'state')
    expect((json as { queues: { path: string }[] }).queues.find(({ path }) => path === 'state')).toMatchObject({
      messages: 3,
      active: 2,
      scheduled: 1,
      deferred: 0,
    })
    expect((await control('POST', 'reset')).status).toBe(200)
    expect(await namespace.client().createReceiver('state').peekMessages(5)).toEqual([])
    await namespace.client().createSender('state').sendMessages({ body: 'after' })
    expect(
      (await namespace.client().createReceiver('state').peekMessages(5)).map(({ body }) => body as string),
    ).toEqual(['after'])
  })

  test('a bad fault or path is refused with a sentence', async () => {
    expect(await control('POST', 'faults', { kind: 'explode' })).toMatchObject({
      status: 400,
      json: { error: expect.stringContaining('kind must be') as string },
    })
    expect(await control('POST', 'faults', { kind: 'delay' })).toMatchObject({
      status: 400,
      json: { error: expect.stringContaining('delayMs') as string },
    })
    expect((await control('POST', 'faults', '{not json')).status).toBe(400)
    expect((await control('POST', 'faults', 'x'.repeat(2 * 1024 * 1024))).status).toBe(400)
    expect((await control('GET', 'nothing')).status).toBe(404)
  })
})
