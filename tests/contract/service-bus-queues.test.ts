import type { ServiceBusReceivedMessage } from '@azure/service-bus'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, failureCode, openNamespace, type ContractNamespace } from './service-bus-namespace.ts'

// Every test has a queue of its own, so that one test's leftovers cannot reach another.
const plain = { LockDuration: 'PT30S', MaxDeliveryCount: 10 }
const queues = {
  basics: plain,
  bodies: plain,
  destructive: plain,
  abandon: plain,
  defer: plain,
  dead: plain,
  poison: { ...plain, MaxDeliveryCount: 2 },
  closed: plain,
  ids: plain,
  subscribe: plain,
  atomic: plain,
  many: plain,
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

describe('sending and receiving', () => {
  test('a message arrives with its properties and what the broker adds', async () => {
    const { sender, receiver } = open('basics')
    const before = Date.now()
    await sender.sendMessages({
      body: { order: 17 },
      messageId: 'm-1',
      correlationId: 'c-1',
      subject: 'subject',
      to: 'to',
      replyTo: 'reply',
      contentType: 'application/json',
      replyToSessionId: 'rs',
      timeToLive: 60_000,
      applicationProperties: { text: 'ä', number: 4.5, whole: 7, yes: true, nothing: null },
    })
    const message = first(await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 }))
    expect(message).toMatchObject({
      body: { order: 17 },
      messageId: 'm-1',
      correlationId: 'c-1',
      subject: 'subject',
      to: 'to',
      replyTo: 'reply',
      contentType: 'application/json',
      replyToSessionId: 'rs',
      timeToLive: 60_000,
      deliveryCount: 0,
      state: 'active',
      applicationProperties: { text: 'ä', number: 4.5, whole: 7, yes: true, nothing: null },
    })
    expect(message.lockToken).toMatch(/^[0-9a-f-]{36}$/)
    expect(message.sequenceNumber?.toNumber()).toBe(1)
    expect(message.enqueuedTimeUtc?.getTime()).toBeGreaterThanOrEqual(before - 1000)
    expect(message.lockedUntilUtc?.getTime()).toBeGreaterThan(before + 20_000)
    expect(message.expiresAtUtc?.getTime()).toBe((message.enqueuedTimeUtc?.getTime() ?? 0) + 60_000)
    await receiver.completeMessage(message)
    expect(await receiver.receiveMessages(1, { maxWaitTimeInMs: 100 })).toEqual([])
  })

  test('bodies keep their kind: data, value and sequence', async () => {
    const { sender, receiver } = open('bodies')
    await sender.sendMessages([{ body: 'text' }, { body: Buffer.from([1, 2, 255]) }, { body: null }])
    await sender.sendMessages({ body: { a: [1, 'two'] }, bodyType: 'value' } as never)
    await sender.sendMessages({ body: [1, 'two', true], bodyType: 'sequence' } as never)
    const received = await receiver.peekMessages(10)
    expect(received.map(({ body }) => body as unknown)).toEqual([
      'text',
      Buffer.from([1, 2, 255]),
      null,
      { a: [1, 'two'] },
      [1, 'two', true],
    ])
    expect(received.map(({ _rawAmqpMessage }) => _rawAmqpMessage.bodyType)).toEqual([
      'data',
      'data',
      'data',
      'value',
      'sequence',
    ])
  })

  test('receive-and-delete removes on delivery', async () => {
    const { sender, receiver } = open('destructive', { receiveMode: 'receiveAndDelete' })
    await sender.sendMessages([{ body: 1 }, { body: 2 }])
    const received = await receiver.receiveMessages(2, { maxWaitTimeInMs: 5000 })
    expect(received.map(({ body }) => body as number)).toEqual([1, 2])
    expect(first(received).lockedUntilUtc).toBeUndefined()
    expect(await receiver.peekMessages(1)).toEqual([])
  })

  test('a message without an id gets one', async () => {
    const { sender, receiver } = open('ids')
    await sender.sendMessages([{ body: 1 }, { body: 2, subject: 'kept' }])
    const [one, two] = await receiver.receiveMessages(2, { maxWaitTimeInMs: 5000 })
    expect(one?.messageId).toMatch(/^[0-9a-f]{32}$/)
    expect(two?.messageId).not.toBe(one?.messageId)
    expect(two?.subject).toBe('kept')
  })

  test('a batch is taken in whole or not at all', async () => {
    const { sender, receiver } = open('atomic')
    expect(await failureCode(sender.sendMessages([{ body: 'small' }, { body: 'x'.repeat(300 * 1024) }]))).toBe(
      'MessageSizeExceeded',
    )
    expect(await receiver.peekMessages(10)).toEqual([])
  })

  test('2,500 messages come in order, and the queue is empty afterwards', async () => {
    const { sender, receiver } = open('many')
    for (let sent = 0; sent < 2500;) {
      const batch = await sender.createMessageBatch()
      while (sent < 2500 && batch.tryAddMessage({ body: sent })) sent++
      await sender.sendMessages(batch)
    }
    const bodies: number[] = []
    while (bodies.length < 2500) {
      const messages = await receiver.receiveMessages(500, { maxWaitTimeInMs: 5000 })
      if (messages.length === 0) break
      bodies.push(...messages.map(({ body }) => body as number))
      await Promise.all(messages.map((message) => receiver.completeMessage(message)))
    }
    expect(bodies).toEqual(Array.from({ length: 2500 }, (_, index) => index))
    expect(await receiver.peekMessages(1)).toEqual([])
  })

  test('subscribe delivers with concurrent handlers, each message once', async () => {
    const { sender, receiver } = open('subscribe')
    const seen: number[] = []
    const failures: Error[] = []
    receiver.subscribe(
      {
        processMessage: async ({ body }) => void seen.push(body as number),
        processError: async ({ error }) => void failures.push(error),
      },
      { maxConcurrentCalls: 8 },
    )
    await sender.sendMessages(Array.from({ length: 100 }, (_, index) => ({ body: index })))
    await eventually(() => seen.length >= 100)
    await receiver.close()
    expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, index) => index))
    expect(failures).toEqual([])
  })
})

describe('settling', () => {
  test('abandon makes the message available again, counts the delivery and can change properties', async () => {
    const { sender, receiver } = open('abandon')
    await sender.sendMessages([{ body: 1, applicationProperties: { kept: 'k', changed: 'old' } }, { body: 2 }])
    const message = first(await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 }))
    await receiver.abandonMessage(message, { changed: 'new', added: 5 })
    const again = first(await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 }))
    expect(again).toMatchObject({
      body: 1,
      deliveryCount: 1,
      applicationProperties: { kept: 'k', changed: 'new', added: 5 },
    })
    expect(again.lockToken).not.toBe(message.lockToken)
  })

  test('a deferred message is received by its number only', async () => {
    const { sender, receiver } = open('defer')
    await sender.sendMessages({ body: 'later' })
    const message = first(await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 }))
    await receiver.deferMessage(message, { why: 'not yet' })
    expect(await receiver.receiveMessages(1, { maxWaitTimeInMs: 100 })).toEqual([])
    const peeked = first(await receiver.peekMessages(1))
    expect(peeked.state).toBe('deferred')
    const [deferred] = await receiver.receiveDeferredMessages([message.sequenceNumber!])
    expect(deferred).toMatchObject({ body: 'later', state: 'deferred', applicationProperties: { why: 'not yet' } })
    expect(await failureCode(receiver.receiveDeferredMessages([message.sequenceNumber!]))).toBe('MessageNotFound')
    await receiver.completeMessage(deferred!)
    expect(await failureCode(receiver.receiveDeferredMessages([message.sequenceNumber!]))).toBe('MessageNotFound')
  })

  test('a dead letter keeps body and number, with reason, description and changed properties', async () => {
    const { client, sender, receiver } = open('dead')
    await sender.sendMessages({ body: 'bad', applicationProperties: { kept: 1 } })
    const message = first(await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 }))
    await receiver.deadLetterMessage(message, {
      deadLetterReason: 'unreadable',
      deadLetterErrorDescription: 'field x',
      extra: 'e',
    })
    const graveyard = client.createReceiver(namespace.name('dead'), { subQueueType: 'deadLetter' })
    const dead = first(await graveyard.receiveMessages(1, { maxWaitTimeInMs: 5000 }))
    expect(dead).toMatchObject({
      body: 'bad',
      deadLetterReason: 'unreadable',
      deadLetterErrorDescription: 'field x',
      applicationProperties: { kept: 1, extra: 'e' },
    })
    expect(dead.sequenceNumber?.toNumber()).toBe(message.sequenceNumber?.toNumber())
    await graveyard.completeMessage(dead)
    expect(await graveyard.peekMessages(1)).toEqual([])
  })

  test('after the last delivery a message is dead-lettered', async () => {
    const { client, sender, receiver } = open('poison')
    await sender.sendMessages({ body: 'poison' })
    for (const deliveryCount of [0, 1]) {
      const message = first(await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 }))
      expect(message.deliveryCount).toBe(deliveryCount)
      await receiver.abandonMessage(message)
    }
    expect(await receiver.receiveMessages(1, { maxWaitTimeInMs: 100 })).toEqual([])
    const graveyard = client.createReceiver(namespace.name('poison'), { subQueueType: 'deadLetter' })
    expect(first(await graveyard.receiveMessages(1, { maxWaitTimeInMs: 5000 }))).toMatchObject({
      body: 'poison',
      deadLetterReason: 'MaxDeliveryCountExceeded',
    })
  })

  test('a message can be settled after its receiver was closed', async () => {
    const { client, sender, receiver } = open('closed')
    await sender.sendMessages([{ body: 1 }, { body: 2 }, { body: 3 }])
    const [complete, abandon, dead] = await receiver.receiveMessages(3, { maxWaitTimeInMs: 5000 })
    await receiver.close()
    const other = client.createReceiver(namespace.name('closed'))
    await other.completeMessage(complete!)
    await other.abandonMessage(abandon!)
    await other.deadLetterMessage(dead!, { deadLetterReason: 'late', deadLetterErrorDescription: 'after closing' })
    expect((await other.receiveMessages(5, { maxWaitTimeInMs: 300 })).map(({ body }) => body as number)).toEqual([2])
    const graveyard = client.createReceiver(namespace.name('closed'), { subQueueType: 'deadLetter' })
    expect(first(await graveyard.peekMessages(1))).toMatchObject({ body: 3, deadLetterReason: 'late' })
  })
})
