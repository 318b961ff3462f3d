import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, failureCode, openNamespace, type ContractNamespace } from './service-bus-namespace.ts'

const session = { RequiresSession: true, LockDuration: 'PT10S', MaxDeliveryCount: 5 }
const queues = {
  named: session,
  next: session,
  wait: session,
  timeout: session,
  locked: session,
  state: session,
  expiry: session,
  fifo: session,
  close: session,
  required: session,
  renew: session,
  two: session,
  empty: session,
  plain: {},
  defer: session,
}

let namespace: ContractNamespace
beforeAll(async () => void (namespace = await openNamespace({ queues })))
afterAll(() => namespace.close())

const open = (queue: keyof typeof queues) => {
  const client = namespace.client()
  return { client, queue: namespace.name(queue), sender: client.createSender(namespace.name(queue)) }
}

describe('accepting', () => {
  test('a named session delivers its own messages only', async () => {
    const { client, queue, sender } = open('named')
    await sender.sendMessages([
      { body: 1, sessionId: 'a' },
      { body: 2, sessionId: 'b' },
      { body: 3, sessionId: 'a' },
    ])
    const receiver = await client.acceptSession(queue, 'a')
    expect(receiver.sessionId).toBe('a')
    expect(receiver.sessionLockedUntilUtc.getTime()).toBeGreaterThan(Date.now())
    const messages = await receiver.receiveMessages(5, { maxWaitTimeInMs: 300 })
    expect(messages.map(({ body, sessionId }) => [body, sessionId])).toEqual([
      [1, 'a'],
      [3, 'a'],
    ])
  })

  test('the next session is one with messages that nobody holds, the longest waiting first', async () => {
    const { client, queue, sender } = open('next')
    await sender.sendMessages([
      { body: 1, sessionId: 'x' },
      { body: 2, sessionId: 'y' },
    ])
    const one = await client.acceptNextSession(queue)
    const two = await client.acceptNextSession(queue)
    expect([one.sessionId, two.sessionId]).toEqual(['x', 'y'])
  })

  test('accepting the next session waits until there is one', async () => {
    const { client, queue, sender } = open('wait')
    const accepting = client.acceptNextSession(queue)
    await sender.sendMessages({ body: 'arrived', sessionId: 'late' })
    const receiver = await accepting
    expect(receiver.sessionId).toBe('late')
    expect((await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })).map(({ body }) => body as string)).toEqual([
      'arrived',
    ])
  })

  test('accepting the next session of none ends in a timeout, and the client goes on working', async () => {
    const { queue } = open('timeout')
    const client = namespace.client({ retryOptions: { maxRetries: 0, timeoutInMs: 1500 } })
    expect(await failureCode(client.acceptNextSession(queue))).toBe('ServiceTimeout')
    await client.createSender(queue).sendMessages({ body: 1, sessionId: 's' })
    expect((await client.acceptNextSession(queue)).sessionId).toBe('s')
  })

  test('a session that another receiver holds cannot be locked', async () => {
    const { client, queue } = open('locked')
    await client.acceptSession(queue, 'mine')
    expect(await failureCode(namespace.client().acceptSession(queue, 'mine'))).toBe('SessionCannotBeLocked')
  })

  test('a session without messages can be accepted by its name', async () => {
    const { client, queue, sender } = open('empty')
    const receiver = await client.acceptSession(queue, 'new')
    await sender.sendMessages({ body: 1, sessionId: 'new' })
    expect((await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })).length).toBe(1)
  })

  test('sessions and plain queues are not mixed up', async () => {
    const { client, queue, sender } = open('required')
    await expect(sender.sendMessages({ body: 1 })).rejects.toThrow(/SessionId/)
    expect(await failureCode(client.createReceiver(queue).receiveMessages(1, { maxWaitTimeInMs: 100 }))).toBe(
      'GeneralError',
    )
    await expect(client.acceptSession(namespace.name('plain'), 's')).rejects.toThrow(/session/i)
  })
})

describe('locks and order', () => {
  test('messages of a session come in order, also after one was abandoned', async () => {
    const { client, queue, sender } = open('fifo')
    await sender.sendMessages([1, 2, 3, 4].map((body) => ({ body, sessionId: 's' })))
    const receiver = await client.acceptSession(queue, 's')
    const [one, two] = await receiver.receiveMessages(2, { maxWaitTimeInMs: 5000 })
    await receiver.abandonMessage(one!)
    await receiver.completeMessage(two!)
    expect(
      (await receiver.receiveMessages(4, { maxWaitTimeInMs: 500 })).map(({ body, deliveryCount }) => [
        body,
        deliveryCount,
      ]),
    ).toEqual([
      [1, 1],
      [3, 0],
      [4, 0],
    ])
  })

  test('closing gives the session up at once, and its deliveries do not count', async () => {
    const { client, queue, sender } = open('close')
    await sender.sendMessages([{ body: 1, sessionId: 's' }])
    const receiver = await client.acceptSession(queue, 's')
    await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })
    await receiver.close()
    const again = await client.acceptNextSession(queue)
    expect(
      (await again.receiveMessages(1, { maxWaitTimeInMs: 5000 })).map(({ body, deliveryCount }) => [
        body,
        deliveryCount,
      ]),
    ).toEqual([[1, 0]])
  })

  test('an expired session lock loses the session: settling fails, others may accept it', async () => {
    const { client, queue, sender } = open('expiry')
    await sender.sendMessages({ body: 1, sessionId: 's' })
    const receiver = await client.acceptSession(queue, 's', { maxAutoLockRenewalDurationInMs: 0 })
    const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })
    await namespace.pass(10_000)
    await eventually(() => receiver.isClosed)
    expect(await failureCode(receiver.completeMessage(message!))).toBe('SessionLockLost')
    const other = await namespace.client().acceptNextSession(queue)
    expect(
      (await other.receiveMessages(1, { maxWaitTimeInMs: 5000 })).map(({ deliveryCount }) => deliveryCount),
    ).toEqual([1])
  })

  test('renewing keeps the session and its messages', async () => {
    const { client, queue, sender } = open('renew')
    await sender.sendMessages({ body: 1, sessionId: 's' })
    const receiver = await client.acceptSession(queue, 's', { maxAutoLockRenewalDurationInMs: 0 })
    const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })
    const until = receiver.sessionLockedUntilUtc.getTime()
    await namespace.pass(6000)
    expect((await receiver.renewSessionLock()).getTime()).toBeGreaterThan(until)
    await namespace.pass(6000)
    await receiver.completeMessage(message!)
    expect(await receiver.peekMessages(1)).toEqual([])
  })

  test('two receivers work on two sessions side by side', async () => {
    const { client, queue, sender } = open('two')
    await sender.sendMessages(Array.from({ length: 20 }, (_, index) => ({ body: index, sessionId: `s${index % 2}` })))
    const receivers = await Promise.all([client.acceptNextSession(queue), client.acceptNextSession(queue)])
    for (const receiver of receivers) {
      const bodies = (await receiver.receiveMessages(20, { maxWaitTimeInMs: 500 })).map(({ body }) => body as number)
      expect(bodies).toEqual(Array.from({ length: 10 }, (_, index) => index * 2 + Number(receiver.sessionId.slice(1))))
    }
  })

  test('a deferred message of a session is received and completed by its holder', async () => {
    const { client, queue, sender } = open('defer')
    await sender.sendMessages({ body: 1, sessionId: 's' })
    const receiver = await client.acceptSession(queue, 's')
    const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })
    await receiver.deferMessage(message!)
    const [deferred] = await receiver.receiveDeferredMessages(message!.sequenceNumber!)
    expect(deferred).toMatchObject({ body: 1, sessionId: 's' })
    await receiver.completeMessage(deferred!)
    expect(await receiver.peekMessages(1)).toEqual([])
  })
})

test('session state outlives its messages and its receivers', async () => {
  const { client, queue } = open('state')
  const receiver = await client.acceptSession(queue, 's')
  expect(await receiver.getSessionState()).toBeNull()
  await receiver.setSessionState({ step: 3 })
  await receiver.close()
  const again = await client.acceptSession(queue, 's')
  expect(await again.getSessionState()).toEqual({ step: 3 })
})
