import { complete, type Delivery } from '@sluice/messaging'
import { expect, test } from 'vitest'
import { eventually, heldHandlers, openBroker } from './messaging-fixture.ts'

const waitForAbort = (signal: AbortSignal) =>
  new Promise<unknown>((resolve) => signal.addEventListener('abort', () => resolve(signal.reason), { once: true }))

test('a message stays ours through three lock durations', async () => {
  const broker = await openBroker('PT1S')
  const handlers = heldHandlers()
  await broker.send(3)
  broker.loop({ handle: handlers.handle })
  await eventually(() => handlers.held.length === 3)
  // Somebody else waits for the same messages all the while; a lapse of one lock would hand him one.
  const other = broker.sdk.createReceiver('q')
  expect(await other.receiveMessages(1, { maxWaitTimeInMs: 3500 })).toEqual([])
  expect(handlers.held.map(({ signal }) => signal.aborted)).toEqual([false, false, false])
  handlers.finishAll()
  await eventually(async () => (await broker.settled('complete')) === 3)
  expect(await broker.left()).toBe(0)
})

test('a lost lock aborts the handler, and what it decides afterwards is not carried out', async () => {
  const broker = await openBroker('PT2S')
  const reasons: unknown[] = []
  const deliveries: Delivery[] = []
  broker.loop({
    slots: 1,
    handle: async (delivery, signal) => {
      deliveries.push(delivery)
      if (deliveries.length === 1) {
        await broker.fault({ kind: 'lose-locks', entity: 'q' })
        reasons.push(await waitForAbort(signal))
      }
      return complete()
    },
  })
  await broker.send(1)
  await eventually(async () => (await broker.settled('complete')) === 1)
  expect(reasons).toMatchObject([{ code: 'lock_lost' }])
  expect(await broker.settled('lost')).toBe(1)
  expect(deliveries.map(({ deliveryCount }) => deliveryCount)).toEqual([0, 1])
  expect(await broker.left()).toBe(0)
})

test('a lock that is lost unnoticed makes the settlement fail, once, and the message comes again', async () => {
  const broker = await openBroker()
  const counts: number[] = []
  broker.loop({
    slots: 1,
    handle: async ({ deliveryCount }) => {
      counts.push(deliveryCount)
      if (deliveryCount === 0) await broker.fault({ kind: 'lose-locks', entity: 'q' })
      return complete()
    },
  })
  await broker.send(1)
  await eventually(async () => (await broker.settled('complete')) === 1)
  expect([await broker.settled('lost'), counts]).toEqual([1, [0, 1]])
})

test('a renewal that fails on the way is tried again in time', async () => {
  const broker = await openBroker('PT2S')
  const handlers = heldHandlers()
  await broker.send(1)
  broker.loop({ handle: handlers.handle })
  await eventually(() => handlers.held.length === 1)
  await broker.fault({ kind: 'refuse', operation: 'management', entity: 'q', count: 1 })
  const other = broker.sdk.createReceiver('q')
  expect(await other.receiveMessages(1, { maxWaitTimeInMs: 4500 })).toEqual([])
  expect(handlers.held[0]?.signal.aborted).toBe(false)
  handlers.finishAll()
  await eventually(async () => (await broker.settled('complete')) === 1)
})

test('when no renewal gets through, the handler is aborted as its lock ends', async () => {
  const broker = await openBroker('PT1S')
  const reasons: unknown[] = []
  await broker.fault({ kind: 'refuse', operation: 'management', entity: 'q' })
  broker.loop({
    slots: 1,
    handle: async ({ deliveryCount }, signal) => {
      if (deliveryCount === 0) reasons.push(await waitForAbort(signal))
      return complete()
    },
  })
  await broker.send(1)
  await eventually(async () => (await broker.settled('complete')) === 1)
  expect(reasons).toMatchObject([{ code: 'lock_lost' }])
})

test('locks are renewed for two messages that share a message id', async () => {
  const broker = await openBroker('PT1S')
  const handlers = heldHandlers()
  await broker.sender.send({ body: 'a', messageId: 'same' })
  await broker.sender.send({ body: 'b', messageId: 'same' })
  broker.loop({ handle: handlers.handle })
  await eventually(() => handlers.held.length === 2)
  const other = broker.sdk.createReceiver('q')
  expect(await other.receiveMessages(1, { maxWaitTimeInMs: 2500 })).toEqual([])
  handlers.finishAll()
  await eventually(async () => (await broker.settled('complete')) === 2)
})

test('a settlement that the broker refuses is made once; the message comes again when its lock ends', async () => {
  const broker = await openBroker('PT1S')
  await broker.fault({ kind: 'throttle', operation: 'settle', entity: 'q', count: 1 })
  const counts: number[] = []
  broker.loop({ slots: 1, handle: async ({ deliveryCount }) => (counts.push(deliveryCount), complete()) })
  await broker.send(1)
  await eventually(async () => (await broker.settled('complete')) === 1)
  expect([counts, await broker.settled('failed'), await broker.left()]).toEqual([[0, 1], 1, 0])
})
