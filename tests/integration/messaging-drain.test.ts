import { complete } from '@sluice/messaging'
import { SlotPool } from '@sluice/resilience'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { eventually, heldHandlers, openBroker } from './messaging-fixture.ts'

test('a drain lets handlers finish and settles what they decided', async () => {
  const broker = await openBroker()
  const handlers = heldHandlers()
  const pool = new SlotPool(4)
  await broker.send(10)
  const loop = broker.loop({ pool, handle: handlers.handle })
  await eventually(() => handlers.held.length === 4)
  const drained = loop.drain(10_000)
  expect(loop.state).toBe('draining')
  handlers.finishAll()
  await drained
  expect([loop.state, pool.inUse, await broker.settled('complete'), await broker.left()]).toEqual(['stopped', 0, 4, 6])
})

test('drained under load, nothing is lost and nothing is settled twice', async () => {
  const broker = await openBroker()
  const handled = new Map<string, number>()
  const handle = async ({ messageId }: { messageId: string }) => {
    await sleep(Math.random() * 5)
    handled.set(messageId, (handled.get(messageId) ?? 0) + 1)
    return complete()
  }
  await broker.send(600)
  // Three workers, one after the other, each told to stop in the middle of it.
  for (const enough of [100, 300]) {
    const loop = broker.loop({ slots: 16, handle })
    await eventually(() => handled.size >= enough)
    await loop.drain(5000)
  }
  expect(await broker.left()).toBe(600 - handled.size)
  broker.loop({ slots: 16, handle })
  await eventually(async () => (await broker.left()) === 0)
  await eventually(async () => (await broker.settled('complete')) === 600)
  expect(handled.size).toBe(600)
  expect([...handled.values()].filter((times) => times !== 1)).toEqual([])
  expect([await broker.settled('lost'), await broker.settled('failed')]).toEqual([0, 0])
})

test('what was not handled is free for the next worker at once, not when its lock ends', async () => {
  const broker = await openBroker('PT1M')
  const handlers = heldHandlers()
  await broker.send(8)
  const loop = broker.loop({ slots: 4, handle: handlers.handle })
  await eventually(() => handlers.held.length === 4)
  const drained = loop.drain(10_000)
  handlers.finishAll()
  await drained
  const other = broker.sdk.createReceiver('q', { receiveMode: 'receiveAndDelete' })
  let others = 0
  while (others < 4) {
    const messages = await other.receiveMessages(4 - others, { maxWaitTimeInMs: 5000 })
    if (messages.length === 0) break
    others += messages.length
  }
  expect(others).toBe(4)
})

test('at the deadline handlers are aborted, and what they decide then is still settled', async () => {
  const broker = await openBroker()
  const reasons: unknown[] = []
  const loop = broker.loop({
    handle: async (_, signal) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      reasons.push(signal.reason)
      throw signal.reason
    },
  })
  await broker.send(2)
  await eventually(async () =>
    (await broker.metrics.render()).text.includes('sluice_received_total{entity="q",service="test"} 2'),
  )
  await loop.drain(50)
  expect(reasons).toMatchObject([{ code: 'shutting_down' }, { code: 'shutting_down' }])
  expect(await broker.settled('retry')).toBe(2)
})

test('a handler that ignores its signal cannot hold up the end', async () => {
  const broker = await openBroker()
  const handlers = heldHandlers()
  await broker.send(1)
  const loop = broker.loop({ handle: handlers.handle })
  await eventually(() => handlers.held.length === 1)
  await loop.drain(50)
  expect(loop.state).toBe('stopped')
  expect(broker.lines.at(-2)).toMatchObject({ inFlight: 1, msg: 'stopped with deliveries in flight' })
  handlers.finishAll()
})

test('messages that wait for their retry are given back at once', async () => {
  const broker = await openBroker()
  const loop = broker.loop({ retryHoldMs: 60_000, handle: async () => ({ kind: 'retry', afterMs: 60_000 }) })
  await broker.send(2)
  await eventually(async () =>
    (await broker.metrics.render()).text.includes('sluice_received_total{entity="q",service="test"} 2'),
  )
  await loop.drain(10_000)
  expect(await broker.settled('retry')).toBe(2)
})

test('draining twice is draining once, and a drained loop does not start again', async () => {
  const broker = await openBroker()
  const loop = broker.loop({})
  await Promise.all([loop.drain(1000), loop.drain(1000)])
  loop.start()
  loop.resume()
  await loop.pause()
  expect(loop.state).toBe('stopped')
  expect(broker.lines.flatMap((line) => line.state ?? [])).toEqual(['running', 'draining', 'stopped'])
})
