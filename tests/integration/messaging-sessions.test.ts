import {
  complete,
  connectServiceBus,
  deadLetter,
  type Delivery,
  release,
  retry,
  SessionLoop,
  type SessionLoopOptions,
} from '@sluice/messaging'
import { LendingPool, SlotPool } from '@sluice/resilience'
import { expect, onTestFinished, test } from 'vitest'
import { eventually, heldHandlers, openBroker } from './messaging-fixture.ts'

async function open(lockDuration?: string) {
  const broker = await openBroker(lockDuration)
  const { sdk, logger, metrics } = broker
  const sender = sdk.createSender('sessions')
  return {
    ...broker,
    /** Bodies `<session><n>`, in turns. */
    sendTo: async (sessions: string[], count: number) => {
      for (let n = 0; n < count; n++) {
        await sender.sendMessages(sessions.map((sessionId) => ({ body: Buffer.from(`${sessionId}${n}`), sessionId })))
      }
    },
    sessions: (given: Partial<SessionLoopOptions> = {}) => {
      const serviceBus = connectServiceBus({ connectionString: broker.connectionString }, { logger })
      const loop = new SessionLoop({
        serviceBus,
        queue: 'sessions',
        slots: new SlotPool(4),
        handle: async () => complete(),
        handlerDeadlineMs: 60_000,
        idleMs: 100,
        holdMs: 200,
        logger,
        metrics,
        ...given,
      })
      loop.start()
      onTestFinished(async () => {
        await loop.drain(0)
        await serviceBus.close()
      })
      return loop
    },
  }
}

const textOf = ({ body }: Delivery) => body.toString()
const of = (texts: string[], session: string) => texts.filter((text) => text.startsWith(session))
const numbered = (session: string, count: number) => Array.from({ length: count }, (_, n) => `${session}${n}`)

test('messages of a session come one at a time and in order, sessions side by side', async () => {
  const broker = await open()
  await broker.sendTo(['a', 'b', 'c'], 6)
  const seen: string[] = []
  const atWork = new Set<string>()
  let most = 0
  broker.sessions({
    handle: async (delivery) => {
      const session = String(delivery.sessionId)
      expect(atWork.has(session)).toBe(false)
      atWork.add(session)
      most = Math.max(most, atWork.size)
      seen.push(textOf(delivery))
      // A turn of the event loop is enough for another one to begin, if it could.
      await new Promise((resolve) => setTimeout(resolve, 20))
      atWork.delete(session)
      return complete()
    },
  })
  await eventually(() => seen.length === 18)
  for (const session of ['a', 'b', 'c']) expect(of(seen, session)).toEqual(numbered(session, 6))
  expect(most).toBeGreaterThan(1)
  await eventually(async () => (await broker.left('sessions')) === 0)
})

test('no more sessions are worked on than there are slots, and an idle one makes place', async () => {
  const broker = await open()
  await broker.sendTo(['a', 'b', 'c', 'd', 'e'], 1)
  const handlers = heldHandlers()
  const slots = new LendingPool(2, [{ name: 'x', share: 1 }])
  broker.sessions({ slots: slots.member('x'), handle: handlers.handle })
  for (let done = 0; done < 5; done++) {
    await eventually(() => handlers.held.length > 0)
    handlers.held[0]?.finish()
    await eventually(async () => (await broker.left('sessions')) === 4 - done)
  }
  expect(handlers.most).toBeLessThanOrEqual(2)
})

test('a head that finds no room is tried again later, uncounted, and nothing overtakes it', async () => {
  const broker = await open()
  await broker.sendTo(['a', 'b'], 3)
  const seen: string[] = []
  const counts: number[] = []
  let refusals = 3
  const slots = new SlotPool(2)
  broker.sessions({
    slots,
    handle: async (delivery) => {
      const text = textOf(delivery)
      if (text === 'a0' && refusals-- > 0) {
        counts.push(delivery.deliveryCount)
        return release(50)
      }
      seen.push(text)
      return complete()
    },
  })
  await eventually(() => seen.length === 6)
  expect(of(seen, 'a')).toEqual(numbered('a', 3))
  expect(counts).toEqual([0, 0, 0])
})

test('a handler that fails gives the head back, counted; one that rejects it goes on with the next', async () => {
  const broker = await open()
  await broker.sendTo(['a'], 3)
  const seen: [string, number][] = []
  broker.sessions({
    handle: async (delivery) => {
      seen.push([textOf(delivery), delivery.deliveryCount])
      if (seen.length === 1) throw new Error('storage is away')
      if (seen.length === 2) return retry(10)
      return textOf(delivery) === 'a1' ? deadLetter('invalid_line', 'not a line') : complete()
    },
  })
  await eventually(() => seen.length === 5, 20_000)
  expect(seen).toEqual([
    ['a0', 0],
    ['a0', 1],
    ['a0', 2],
    ['a1', 0],
    ['a2', 0],
  ])
  await eventually(async () => (await broker.left('sessions/$DeadLetterQueue')) === 1)
})

test('the lock of a session is renewed for as long as a handler takes', async () => {
  const broker = await open('PT1S')
  await broker.sendTo(['a'], 2)
  const seen: string[] = []
  const slow = Date.now() + 3_500
  broker.sessions({
    handle: async (delivery) => {
      seen.push(textOf(delivery))
      while (Date.now() < slow) await new Promise((resolve) => setTimeout(resolve, 50))
      return complete()
    },
  })
  await eventually(async () => (await broker.left('sessions')) === 0, 20_000)
  expect(seen).toEqual(['a0', 'a1'])
}, 30_000)

test('a lost session lock aborts the handler, and its message comes again', async () => {
  const broker = await open('PT1S')
  await broker.sendTo(['a'], 2)
  const seen: string[] = []
  const reasons: unknown[] = []
  broker.sessions({
    handle: async (delivery, signal) => {
      seen.push(textOf(delivery))
      if (seen.length > 1) return complete()
      await broker.fault({ kind: 'lose-locks', entity: 'sessions' })
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
      reasons.push((signal.reason as { code?: string }).code)
      return complete()
    },
  })
  await eventually(() => seen.length === 3 && reasons.length === 1, 30_000)
  expect(reasons).toEqual(['lock_lost'])
  expect(seen).toEqual(['a0', 'a0', 'a1'])
}, 60_000)

test('paused it takes no session, resumed it does', async () => {
  const broker = await open()
  const seen: string[] = []
  const loop = broker.sessions({
    handle: async (delivery) => {
      seen.push(textOf(delivery))
      return complete()
    },
  })
  await broker.sendTo(['a'], 1)
  await eventually(() => seen.length === 1)
  await loop.pause()
  await broker.sendTo(['b'], 1)
  // What an accept under way still brings is given back: the session can be had by somebody else.
  const other = await broker.sdk.acceptSession('sessions', 'b')
  expect(await other.peekMessages(1)).toHaveLength(1)
  await other.close()
  expect(seen).toEqual(['a0'])
  loop.resume()
  await eventually(() => seen.length === 2, 20_000)
  await loop.check()
}, 30_000)

test('draining finishes the message in hand and gives the session back', async () => {
  const broker = await open()
  await broker.sendTo(['a'], 2)
  const handlers = heldHandlers()
  const loop = broker.sessions({ handle: handlers.handle })
  await eventually(() => handlers.held.length === 1)
  const drained = loop.drain(10_000)
  handlers.finishAll()
  await drained
  const next = await broker.sdk.acceptSession('sessions', 'a')
  const [message] = await next.receiveMessages(1, { maxWaitTimeInMs: 5_000 })
  expect(String(message?.body)).toBe('a1')
  await next.close()
})

test('a broker that is away is waited for', async () => {
  const broker = await open()
  await broker.sendTo(['a'], 1)
  await broker.fault({ kind: 'refuse', operation: 'attach', entity: 'sessions', count: 2 })
  const seen: string[] = []
  broker.sessions({
    handle: async (delivery) => {
      seen.push(textOf(delivery))
      return complete()
    },
  })
  await eventually(() => seen.length === 1, 30_000)
}, 60_000)
