import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { failureCode, openNamespace, type ContractNamespace } from './service-bus-namespace.ts'

const queues = {
  schedule: {},
  cancel: {},
  'schedule-order': {},
  annotated: {},
  ttl: { DeadLetteringOnMessageExpiration: true },
  'ttl-drop': {},
  'ttl-default': { DefaultMessageTimeToLive: 'PT10S', DeadLetteringOnMessageExpiration: true },
  'ttl-locked': { LockDuration: 'PT30S', DeadLetteringOnMessageExpiration: true },
  duplicates: { RequiresDuplicateDetection: true, DuplicateDetectionHistoryTimeWindow: 'PT20S' },
  'no-duplicates': {},
}

let namespace: ContractNamespace
beforeAll(async () => void (namespace = await openNamespace({ queues })))
afterAll(() => namespace.close())

const open = (queue: keyof typeof queues, subQueueType?: 'deadLetter') => {
  const client = namespace.client()
  const sub = subQueueType === undefined ? {} : { subQueueType }
  return {
    sender: client.createSender(namespace.name(queue)),
    receiver: client.createReceiver(namespace.name(queue), sub),
  }
}
const soon = (ms: number): Date => new Date(namespace.now() + ms)

describe('scheduling', () => {
  test('a scheduled message appears at its time, with a new sequence number', async () => {
    const { sender, receiver } = open('schedule')
    const [number] = await sender.scheduleMessages({ body: 'later' }, soon(60_000))
    expect((await receiver.peekMessages(1))[0]).toMatchObject({ body: 'later', state: 'scheduled' })
    expect(await receiver.receiveMessages(1, { maxWaitTimeInMs: 50 })).toEqual([])
    await namespace.pass(60_000)
    const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })
    expect(message).toMatchObject({ body: 'later', state: 'active' })
    expect(message!.sequenceNumber!.toNumber()).toBeGreaterThan(number!.toNumber())
    expect(message!.scheduledEnqueueTimeUtc).toBeInstanceOf(Date)
  })

  test('a message sent with a scheduled time waits too', async () => {
    const { sender, receiver } = open('annotated')
    await sender.sendMessages({ body: 'later', scheduledEnqueueTimeUtc: soon(60_000) })
    expect(await receiver.receiveMessages(1, { maxWaitTimeInMs: 50 })).toEqual([])
    await namespace.pass(60_000)
    expect((await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })).map(({ body }) => body as string)).toEqual([
      'later',
    ])
  })

  test('scheduled messages come in the order of their times', async () => {
    const { sender, receiver } = open('schedule-order')
    await sender.scheduleMessages({ body: 'second' }, soon(40_000))
    await sender.scheduleMessages({ body: 'first' }, soon(20_000))
    await namespace.pass(60_000)
    expect((await receiver.receiveMessages(2, { maxWaitTimeInMs: 5000 })).map(({ body }) => body as string)).toEqual([
      'first',
      'second',
    ])
  })

  test('a cancelled message never appears; cancelling what is not scheduled is MessageNotFound', async () => {
    const { sender, receiver } = open('cancel')
    const numbers = await sender.scheduleMessages([{ body: 1 }, { body: 2 }], soon(30_000))
    await sender.cancelScheduledMessages(numbers[0]!)
    expect(await failureCode(sender.cancelScheduledMessages(numbers))).toBe('MessageNotFound')
    await namespace.pass(30_000)
    expect((await receiver.receiveMessages(2, { maxWaitTimeInMs: 300 })).map(({ body }) => body as number)).toEqual([2])
  })
})

describe('time to live', () => {
  test('an expired message is dead-lettered where that is configured', async () => {
    const { sender, receiver } = open('ttl')
    await sender.sendMessages({ body: 'old', timeToLive: 5000 })
    await namespace.pass(5000)
    expect(await receiver.receiveMessages(1, { maxWaitTimeInMs: 50 })).toEqual([])
    const [dead] = await open('ttl', 'deadLetter').receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })
    expect(dead).toMatchObject({ body: 'old', deadLetterReason: 'TTLExpiredException' })
  })

  test('elsewhere it disappears', async () => {
    const { sender, receiver } = open('ttl-drop')
    await sender.sendMessages([
      { body: 'old', timeToLive: 5000 },
      { body: 'kept', timeToLive: 500_000 },
    ])
    await namespace.pass(5000)
    expect((await receiver.peekMessages(5)).map(({ body }) => body as string)).toEqual(['kept'])
    expect(await open('ttl-drop', 'deadLetter').receiver.peekMessages(5)).toEqual([])
  })

  test("the entity's time limits the message's own", async () => {
    const { sender, receiver } = open('ttl-default')
    await sender.sendMessages([{ body: 1 }, { body: 2, timeToLive: 3_600_000 }])
    const [message] = await receiver.peekMessages(1)
    expect(message!.timeToLive).toBe(10_000)
    await namespace.pass(10_000)
    expect(
      (await open('ttl-default', 'deadLetter').receiver.receiveMessages(2, { maxWaitTimeInMs: 5000 })).map(
        ({ body }) => body as number,
      ),
    ).toEqual([1, 2])
  })

  test('a locked message can be completed after its time, and expires when it is abandoned', async () => {
    const { sender, receiver } = open('ttl-locked')
    await sender.sendMessages([
      { body: 1, timeToLive: 5000 },
      { body: 2, timeToLive: 5000 },
    ])
    const [one, two] = await receiver.receiveMessages(2, { maxWaitTimeInMs: 5000 })
    await namespace.pass(6000)
    await receiver.completeMessage(one!)
    await receiver.abandonMessage(two!)
    const dead = await open('ttl-locked', 'deadLetter').receiver.receiveMessages(2, { maxWaitTimeInMs: 500 })
    expect(dead.map(({ body }) => body as number)).toEqual([2])
  })
})

describe('duplicate detection', () => {
  test('an id is taken once within the window, and again after it', async () => {
    const { sender, receiver } = open('duplicates')
    const messageId = randomUUID()
    await sender.sendMessages({ body: 1, messageId })
    await sender.sendMessages([
      { body: 2, messageId },
      { body: 3, messageId: randomUUID() },
    ])
    expect((await receiver.receiveMessages(3, { maxWaitTimeInMs: 300 })).map(({ body }) => body as number)).toEqual([
      1, 3,
    ])
    await namespace.pass(20_000)
    await sender.sendMessages({ body: 4, messageId })
    expect((await receiver.receiveMessages(1, { maxWaitTimeInMs: 5000 })).map(({ body }) => body as number)).toEqual([
      4,
    ])
  })

  test('without it the same id is taken twice', async () => {
    const { sender, receiver } = open('no-duplicates')
    await sender.sendMessages([
      { body: 1, messageId: 'same' },
      { body: 2, messageId: 'same' },
    ])
    expect((await receiver.receiveMessages(2, { maxWaitTimeInMs: 5000 })).length).toBe(2)
  })
})
