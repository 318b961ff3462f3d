import { AppError } from '@sluice/errors'
import { complete, deadLetter, type Delivery, retry, type Settlement, toDelivery } from '@sluice/messaging'
import { SlotPool } from '@sluice/resilience'
import { expect, test } from 'vitest'
import { eventually, heldHandlers, openBroker } from './messaging-fixture.ts'

test('no more messages are locked than there are slots', async () => {
  const broker = await openBroker()
  const handlers = heldHandlers()
  await broker.send(20)
  broker.loop({ slots: 4, handle: handlers.handle })
  await eventually(() => handlers.held.length === 4)
  // Whatever the loop did not lock is there for somebody else.
  const other = broker.sdk.createReceiver('q', { receiveMode: 'receiveAndDelete' })
  let others = 0
  while (others < 16) others += (await other.receiveMessages(16 - others, { maxWaitTimeInMs: 5000 })).length
  expect(await other.receiveMessages(1, { maxWaitTimeInMs: 100 })).toEqual([])
  handlers.finishAll()
  await eventually(async () => (await broker.settled('complete')) === 4)
  expect(handlers.most).toBe(4)
})

test('a pool of one slot takes one message at a time, in order', async () => {
  const broker = await openBroker()
  const seen: string[] = []
  let running = 0
  broker.loop({
    slots: 1,
    handle: async ({ messageId }) => {
      expect(++running).toBe(1)
      seen.push(messageId)
      await new Promise((resolve) => setImmediate(resolve))
      running--
      return complete()
    },
  })
  await broker.send(20)
  await eventually(() => seen.length === 20)
  expect(seen).toEqual(Array.from({ length: 20 }, (_, index) => `m${index}`))
})

test('two loops share a pool without exceeding it, and neither starves', async () => {
  const broker = await openBroker()
  const pool = new SlotPool(3)
  const seen = { q: 0, t: 0 }
  let most = 0
  const handle = (entity: 'q' | 't') => async () => {
    seen[entity]++
    most = Math.max(most, pool.inUse)
    await new Promise((resolve) => setImmediate(resolve))
    return complete()
  }
  const topic = broker.sdk.createSender('t')
  await Promise.all([broker.send(50), topic.sendMessages(Array.from({ length: 50 }, () => ({ body: 'x' })))])
  broker.loop({ pool, handle: handle('q') })
  broker.loop({ pool, handle: handle('t'), source: { topic: 't', subscription: 's' } })
  await eventually(() => seen.q === 50 && seen.t === 50)
  expect(most).toBeLessThanOrEqual(3)
})

test('a dispatcher that shares the pool finds half of it while the queue is idle', async () => {
  const broker = await openBroker()
  const pool = new SlotPool(4)
  broker.loop({ pool })
  await eventually(() => pool.inUse === 2)
  expect(pool.tryAcquire()).toBeDefined()
  expect(pool.tryAcquire()).toBeDefined()
})

const poison: [string, () => Settlement | Promise<Settlement>, object][] = [
  ['deadLetter', () => deadLetter('poison', 'three crashes'), { reason: 'poison', description: 'three crashes' }],
  [
    'an error whose disposition is reject',
    () => Promise.reject(new AppError('invalid_line', 'url: missing')),
    { reason: 'invalid_line', description: 'url: missing' },
  ],
  [
    'a description beyond what the broker takes',
    () => deadLetter('r'.repeat(5000), 'd'.repeat(5000)),
    { reason: 'r'.repeat(4096), description: 'd'.repeat(4096) },
  ],
]
test.each(poison)('%s moves the message to the dead-letter queue with its reason', async (_, settle, expected) => {
  const broker = await openBroker()
  broker.loop({ handle: async () => settle() })
  await broker.send(1)
  const dead = broker.sdk.createReceiver('q', { subQueueType: 'deadLetter' })
  const [message] = await dead.receiveMessages(1, { maxWaitTimeInMs: 10_000 })
  expect({ reason: message?.deadLetterReason, description: message?.deadLetterErrorDescription }).toEqual(expected)
  expect(await broker.left()).toBe(0)
})

test('complete removes the message, defer sets it aside', async () => {
  const broker = await openBroker()
  const numbers = new Map<string, string>()
  broker.loop({
    handle: async ({ messageId, sequenceNumber }) => {
      numbers.set(messageId, sequenceNumber)
      return messageId === 'm0' ? complete() : { kind: 'defer' }
    },
  })
  await broker.send(2)
  await eventually(async () => (await broker.settled('complete')) + (await broker.settled('defer')) === 2)
  expect(await broker.left()).toBe(1)
  const [deferred] = await broker.sdk.createReceiver('q').peekMessages(1)
  expect([deferred?.messageId, deferred?.state]).toEqual(['m1', 'deferred'])
  expect(deferred?.sequenceNumber?.toString()).toBe(numbers.get('m1'))
})

test('different outcomes that are decided in the same moment each reach the broker as they were decided', async () => {
  const broker = await openBroker()
  const { promise: together, resolve: go } = Promise.withResolvers<void>()
  const outcomes: Settlement[] = [complete(), deadLetter('a', ''), complete(), deadLetter('b', ''), { kind: 'defer' }]
  let waiting = 0
  broker.loop({
    slots: 40,
    handle: async ({ messageId }) => {
      if (++waiting === 40) go()
      await together
      return outcomes[Number(messageId.slice(1)) % 5] ?? complete()
    },
  })
  await broker.send(40)
  const dead = broker.sdk.createReceiver('q', { subQueueType: 'deadLetter', receiveMode: 'receiveAndDelete' })
  const reasons: string[] = []
  while (reasons.length < 16) {
    const messages = await dead.receiveMessages(16 - reasons.length, { maxWaitTimeInMs: 5000 })
    if (messages.length === 0) break
    for (const { messageId, deadLetterReason } of messages) reasons.push(`${String(messageId)} ${deadLetterReason}`)
  }
  const expected = (remainder: number, reason: string) =>
    Array.from({ length: 8 }, (_, index) => `m${index * 5 + remainder} ${reason}`)
  expect(reasons.sort()).toEqual([...expected(1, 'a'), ...expected(3, 'b')].sort())
  await eventually(async () => (await broker.settled('complete')) + (await broker.settled('defer')) === 24)
  expect(await broker.left()).toBe(8)
})

test('retry gives the slot back at once and the message after the wait', async () => {
  const broker = await openBroker()
  const seen: { messageId: string; deliveryCount: number; atMs: number }[] = []
  broker.loop({
    slots: 1,
    handle: async ({ messageId, deliveryCount }) => {
      seen.push({ messageId, deliveryCount, atMs: performance.now() })
      return messageId === 'm0' && deliveryCount === 0 ? retry(400) : complete()
    },
  })
  await broker.send(2)
  await eventually(() => seen.length === 3)
  expect(seen.map(({ messageId, deliveryCount }) => `${messageId}/${deliveryCount}`)).toEqual(['m0/0', 'm1/0', 'm0/1'])
  expect((seen[2]?.atMs ?? 0) - (seen[0]?.atMs ?? 0)).toBeGreaterThanOrEqual(395)
})

test('a longer retry than the loop holds is cut to the hold', async () => {
  const broker = await openBroker()
  const seen: number[] = []
  broker.loop({
    retryHoldMs: 50,
    handle: async ({ deliveryCount }) => (
      seen.push(deliveryCount),
      deliveryCount === 0 ? retry(3_600_000) : complete()
    ),
  })
  await broker.send(1)
  await eventually(() => seen.length === 2)
  expect(seen).toEqual([0, 1])
})

test('held retries are bounded: beyond the number of slots they keep theirs', async () => {
  const broker = await openBroker()
  const seen: string[] = []
  broker.loop({ slots: 2, retryHoldMs: 60_000, handle: async ({ messageId }) => (seen.push(messageId), retry(60_000)) })
  await broker.send(10)
  await eventually(() => seen.length === 4)
  const other = broker.sdk.createReceiver('q', { receiveMode: 'receiveAndDelete' })
  let others = 0
  while (others < 6) others += (await other.receiveMessages(6 - others, { maxWaitTimeInMs: 5000 })).length
  expect(seen).toEqual(['m0', 'm1', 'm2', 'm3'])
})

test('a handler that throws anything at all gets its message again, later', async () => {
  const broker = await openBroker()
  const thrown: unknown[] = [new TypeError('bug'), undefined, 'text', new AppError('storage_unavailable', 'down')]
  const counts: number[] = []
  broker.loop({
    retryHoldMs: 20,
    handle: async ({ deliveryCount }) => {
      counts.push(deliveryCount)
      if (deliveryCount < thrown.length) throw thrown[deliveryCount]
      return complete()
    },
  })
  await broker.send(1)
  await eventually(() => counts.length === 5)
  expect(counts).toEqual([0, 1, 2, 3, 4])
  await eventually(async () => (await broker.left()) === 0)
})

test('a handler that threw synchronously is no exception', async () => {
  const broker = await openBroker()
  const handle = () => {
    throw new AppError('invalid_json', 'not JSON')
  }
  broker.loop({ handle })
  await broker.send(1)
  await eventually(async () => (await broker.settled('dead-letter')) === 1)
})

test('an error whose disposition is yield leaves the message alone until its lock ends', async () => {
  const broker = await openBroker('PT1S')
  const counts: number[] = []
  broker.loop({
    handle: async ({ deliveryCount }) => {
      counts.push(deliveryCount)
      if (deliveryCount === 0) throw new AppError('lease_lost', 'somebody else has it')
      return complete()
    },
  })
  await broker.send(1)
  await eventually(() => counts.length === 2)
  expect([await broker.settled('untouched'), counts]).toEqual([1, [0, 1]])
})

test("a handler's signal aborts at its deadline", async () => {
  const broker = await openBroker()
  const reasons: unknown[] = []
  broker.loop({
    handlerDeadlineMs: 50,
    handle: async (delivery, signal) => {
      if (delivery.deliveryCount > 0) return complete()
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      reasons.push(signal.reason)
      throw signal.reason
    },
  })
  await broker.send(1)
  await eventually(async () => (await broker.settled('complete')) === 1)
  expect(reasons).toMatchObject([{ code: 'deadline_exceeded' }])
})

test('pausing takes the credit back and resuming goes on', async () => {
  const broker = await openBroker()
  const pool = new SlotPool(4)
  const seen: string[] = []
  const loop = broker.loop({ pool, handle: async ({ messageId }) => (seen.push(messageId), complete()) })
  await eventually(() => pool.inUse === 2)
  await loop.pause()
  expect([loop.state, pool.inUse]).toEqual(['paused', 0])
  await broker.send(5)
  const other = broker.sdk.createReceiver('q')
  const [free] = await other.receiveMessages(1, { maxWaitTimeInMs: 5000 })
  expect(free?.messageId).toBe('m0')
  if (free) await other.abandonMessage(free)
  expect(seen).toEqual([])
  loop.resume()
  await eventually(() => seen.length === 5)
})

test('pausing and resuming without waiting ends where the last call says, with no slot lost', async () => {
  const broker = await openBroker()
  const pool = new SlotPool(4)
  const seen: string[] = []
  const loop = broker.loop({ pool, handle: async ({ messageId }) => (seen.push(messageId), complete()) })
  await eventually(() => pool.inUse === 2)
  for (let i = 0; i < 5; i++) {
    void loop.pause()
    loop.resume()
  }
  await broker.send(20)
  await eventually(() => seen.length === 20)
  void loop.pause()
  loop.resume()
  await loop.pause()
  await eventually(() => pool.inUse === 0)
})

test.each([
  ['an object', { a: 1, text: 'ü' }, '{"a":1,"text":"ü"}'],
  ['a string, which the SDK sends as JSON', 'plain', '"plain"'],
  ['bytes that are no JSON', Buffer.from('not { json'), 'not { json'],
  ['bytes that are JSON with its own spacing', Buffer.from('{ "a" : 1 }\n'), '{ "a" : 1 }\n'],
  ['bytes that are no UTF-8', Buffer.from([0xff, 0x00, 0xfe]), Buffer.from([0xff, 0x00, 0xfe]).toString('latin1')],
  ['nothing', undefined, 'null'],
])('the body of %s arrives as the bytes that were sent', async (_, body: unknown, expected) => {
  const broker = await openBroker()
  const bodies: Buffer[] = []
  broker.loop({ handle: async (delivery) => (bodies.push(delivery.body), complete()) })
  await broker.sdk.createSender('q').sendMessages({ body })
  await eventually(() => bodies.length === 1)
  const text = bodies[0]?.toString(expected.includes('ÿ') ? 'latin1' : 'utf8')
  expect(text).toBe(expected)
})

test.each([
  ['an AMQP value of text', { bodyType: 'value', body: 'text' }, 'text'],
  ['an AMQP value of a map', { bodyType: 'value', body: { a: 1 } }, '{"a":1}'],
  ['an AMQP sequence', { bodyType: 'sequence', body: [[1, 'b']] }, '[[1,"b"]]'],
] as const)('%s from another client becomes bytes too', async (_, message, expected) => {
  const broker = await openBroker()
  const bodies: Buffer[] = []
  broker.loop({ handle: async (delivery) => (bodies.push(delivery.body), complete()) })
  await broker.sdk.createSender('q').sendMessages(message)
  await eventually(() => bodies.length === 1)
  expect(bodies[0]?.toString()).toBe(expected)
})

const anyProperties = {
  text: 'é'.repeat(300),
  empty: '',
  yes: true,
  no: false,
  zero: 0,
  small: 200,
  large: 5_000_000_000,
  negative: -3,
  veryNegative: -5_000_000_000,
  fraction: 0.25,
  date: new Date(1_763_700_000_123),
  nothing: null,
}
test.each([
  ['without anything', { body: Buffer.from('x') }],
  ['with every type of property', { body: Buffer.from('x'), applicationProperties: anyProperties }],
  ['with every field', { body: 'x', subject: 's', to: 't', correlationId: 'c', replyTo: 'r', replyToSessionId: 'rs' }],
  ['with a number for an id', { body: 'x', messageId: 7, correlationId: 8 }],
  ['with a lifetime', { body: 'x', timeToLive: 60_000 }],
  ['of many frames', { body: Buffer.alloc(200_000, 'x'), applicationProperties: anyProperties }],
  ['that is no data section', { body: { a: 1 }, bodyType: 'value', applicationProperties: anyProperties }],
])('a message %s is read as the SDK reads it', async (_, message) => {
  const broker = await openBroker()
  const handlers = heldHandlers()
  await broker.sdk.createSender('q').sendMessages(message)
  broker.loop({ handle: handlers.handle })
  await eventually(() => handlers.held.length === 1)
  const [peeked] = await broker.sdk.createReceiver('q', { skipParsingBodyAsJson: true }).peekMessages(1)
  const [held] = handlers.held
  if (peeked === undefined || held === undefined) throw new Error('no message')
  const { lockToken: _lock, deliveryCount: _count, ...delivery } = held.delivery
  const { lockToken: _none, deliveryCount: _peeks, ...expected } = toDelivery(peeked)
  expect(delivery).toEqual(expected)
  handlers.finishAll()
  await eventually(async () => (await broker.settled('complete')) === 1)
})

test('a delivery carries what the sender and the broker said about it', async () => {
  const broker = await openBroker()
  const deliveries: Delivery[] = []
  broker.loop({ handle: async (delivery) => (deliveries.push(delivery), complete()) })
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
  await broker.sender.send({
    body: { a: 1 },
    subject: '/v1/responses',
    correlationId: 'order-17',
    contentType: 'application/json',
    replyTo: 'replies',
    replyToSessionId: 's1',
    properties: { tenant: 'contoso', traceparent, n: 3, flag: true },
  })
  await eventually(() => deliveries.length === 1)
  expect(deliveries[0]).toMatchObject({
    messageId: expect.stringMatching(/^[0-9a-f-]{36}$/) as unknown,
    sequenceNumber: '1',
    deliveryCount: 0,
    subject: '/v1/responses',
    correlationId: 'order-17',
    contentType: 'application/json',
    replyTo: 'replies',
    replyToSessionId: 's1',
    sessionId: undefined,
    properties: { tenant: 'contoso', traceparent, n: 3, flag: true },
    traceparent,
  })
  expect(Math.abs((deliveries[0]?.enqueuedAt ?? 0) - Date.now())).toBeLessThan(60_000)
  expect(deliveries[0]?.lockToken).toMatch(/^[0-9a-f-]{36}$/)
})
