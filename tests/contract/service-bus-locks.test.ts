import type { ServiceBusReceivedMessage } from '@azure/service-bus'
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { failureCode, openNamespace, type ContractNamespace } from './service-bus-namespace.ts'

// Every test has a queue of its own, so that one test's leftovers cannot reach another.
const plain = { LockDuration: 'PT30S', MaxDeliveryCount: 10 }
const queues = {
  expiry: { ...plain, LockDuration: 'PT5S' },
  lost: { ...plain, LockDuration: 'PT5S' },
  renew: { ...plain, LockDuration: 'PT5S' },
  peek: plain,
  order: plain,
  drain: plain,
  sizes: plain,
  disabled: { ...plain, Status: 'Disabled' },
  'send-off': { ...plain, Status: 'SendDisabled' },
}

let namespace: ContractNamespace
beforeAll(async () => void (namespace = await openNamespace({ queues })))
afterAll(() => namespace.close())

const open = (queue: keyof typeof queues, options = {}) => {
  const client = namespace.client()
  return {
    client,
    sender: client.createSender(namespace.name(queue)),
    receiver: client.createReceiver(namespace.name(queue), options),
  }
}

const first = (messages: ServiceBusReceivedMessage[]): ServiceBusReceivedMessage => {
  const [message] = messages
  if (message === undefined) throw new Error('no message')
  return message
}

describe('locks', () => {
  test('an expired lock makes the message available to others, with the delivery counted', async () => {
    const { client, sender, receiver } = open('expiry')
    await sender.sendMessages({ body: 'slow' })
    await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })
    const other = client.createReceiver(namespace.name('expiry'))
    expect(await other.receiveMessages(1, { maxWaitTimeInMs: 100 })).toEqual([])
    await namespace.pass(5000)
    expect(first(await other.receiveMessages(1, { maxWaitTimeInMs: 5000 }))).toMatchObject({
      body: 'slow',
      deliveryCount: 1,
    })
  })

  test('settling or renewing with a lost lock fails with MessageLockLost', async () => {
    const { sender, receiver } = open('lost')
    await sender.sendMessages([{ body: 1 }, { body: 2 }])
    const [one, two] = await receiver.receiveMessages(2, { maxWaitTimeInMs: 5000 })
    await namespace.pass(5000)
    expect(await failureCode(receiver.completeMessage(one!))).toBe('MessageLockLost')
    expect(await failureCode(receiver.renewMessageLock(two!))).toBe('MessageLockLost')
    expect(await failureCode(receiver.abandonMessage(two!))).toBe('MessageLockLost')
  })

  test('renewal extends a lock beyond its first expiry', async () => {
    const { sender, receiver } = open('renew')
    await sender.sendMessages({ body: 'long' })
    const message = first(await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 }))
    const firstExpiry = message.lockedUntilUtc!.getTime()
    await namespace.pass(3000)
    expect((await receiver.renewMessageLock(message)).getTime()).toBeGreaterThan(firstExpiry)
    await namespace.pass(3000)
    await receiver.completeMessage(message)
    expect(await receiver.peekMessages(1)).toEqual([])
  })
})

describe('peeking and draining', () => {
  test('peek shows messages in order without locking them, and continues where it stopped', async () => {
    const { sender, receiver } = open('peek')
    await sender.sendMessages([{ body: 1 }, { body: 2 }, { body: 3 }])
    expect((await receiver.peekMessages(2)).map(({ body }) => body as number)).toEqual([1, 2])
    expect((await receiver.peekMessages(2)).map(({ body }) => body as number)).toEqual([3])
    expect((await receiver.receiveMessages(3, { maxWaitTimeInMs: 5000 })).length).toBe(3)
    expect((await namespace.client().createReceiver(namespace.name('peek')).peekMessages(5)).length).toBe(3)
  })

  test('credit that was drained delivers nothing later', async () => {
    const { client, sender, receiver } = open('drain')
    expect(await receiver.receiveMessages(10, { maxWaitTimeInMs: 50 })).toEqual([])
    await sender.sendMessages([{ body: 1 }, { body: 2 }])
    const other = client.createReceiver(namespace.name('drain'))
    expect((await other.receiveMessages(2, { maxWaitTimeInMs: 5000 })).map(({ body }) => body as number)).toEqual([
      1, 2,
    ])
  })

  test('an abandoned message comes before those behind it', async () => {
    const { sender, receiver } = open('order')
    await sender.sendMessages([{ body: 1 }, { body: 2 }, { body: 3 }])
    const [one, two] = await receiver.receiveMessages(2, { maxWaitTimeInMs: 5000 })
    await receiver.abandonMessage(two!)
    await receiver.abandonMessage(one!)
    expect((await receiver.receiveMessages(3, { maxWaitTimeInMs: 5000 })).map(({ body }) => body as number)).toEqual([
      1, 2, 3,
    ])
  })
})

describe('refusals', () => {
  test('an unknown queue is MessagingEntityNotFound for senders and receivers', async () => {
    const client = namespace.client()
    expect(await failureCode(client.createSender(`missing-${randomUUID()}`).sendMessages({ body: 1 }))).toBe(
      'MessagingEntityNotFound',
    )
    expect(
      await failureCode(client.createReceiver(`missing-${randomUUID()}`).receiveMessages(1, { maxWaitTimeInMs: 100 })),
    ).toBe('MessagingEntityNotFound')
    expect(await failureCode(client.createReceiver(`missing-${randomUUID()}`).peekMessages(1))).toBe(
      'MessagingEntityNotFound',
    )
  })

  test('a disabled entity is MessagingEntityDisabled', async () => {
    const { sender, receiver } = open('disabled')
    expect(await failureCode(sender.sendMessages({ body: 1 }))).toBe('MessagingEntityDisabled')
    expect(await failureCode(receiver.receiveMessages(1, { maxWaitTimeInMs: 100 }))).toBe('MessagingEntityDisabled')
    const sendOff = open('send-off')
    expect(await failureCode(sendOff.sender.sendMessages({ body: 1 }))).toBe('MessagingEntityDisabled')
    expect(await sendOff.receiver.receiveMessages(1, { maxWaitTimeInMs: 50 })).toEqual([])
  })

  test('a message over the limit is MessageSizeExceeded, and the link goes on working', async () => {
    const { sender, receiver } = open('sizes')
    expect(await failureCode(sender.sendMessages({ body: 'x'.repeat(300 * 1024) }))).toBe('MessageSizeExceeded')
    expect(await failureCode(sender.sendMessages({ body: 'x'.repeat(3 * 1024 * 1024) }))).toBe('MessageSizeExceeded')
    await sender.sendMessages({ body: 'y'.repeat(200 * 1024) })
    const message = first(await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 }))
    expect((message.body as string).length).toBe(200 * 1024)
  })
})
