import { expect, test } from 'vitest'
import { MessageQueue } from './message-queue.ts'
import { TestConsumer, testContext, testDraft, testProperties } from './queue-harness.ts'

const open = () => {
  const { context, clock } = testContext()
  const queue = new MessageQueue(context, 'q', testProperties({ requiresSession: true }))
  const { sessions } = queue
  if (sessions === undefined) throw new Error('no sessions')
  return { queue, sessions, clock }
}
const publish = (queue: MessageQueue, ...sessionIds: string[]) =>
  queue.publish(sessionIds.map((sessionId) => testDraft({ sessionId })))

test('waiting holders get sessions in the order in which both came', () => {
  const { queue, sessions } = open()
  const [one, two] = [new TestConsumer(), new TestConsumer()]
  sessions.acceptNext(one)
  sessions.acceptNext(two)
  publish(queue, 'b', 'a', 'b')
  queue.dispatch()
  expect([one.session, two.session]).toEqual(['b', 'a'])
  expect([one.numbers, two.numbers]).toEqual([[1, 3], [2]])
})

test('a holder that stopped waiting is passed over', () => {
  const { queue, sessions } = open()
  const [gone, here] = [new TestConsumer(), new TestConsumer()]
  sessions.acceptNext(gone)
  sessions.acceptNext(here)
  expect(sessions.stopWaiting(gone)).toBe(true)
  publish(queue, 's')
  queue.dispatch()
  expect([gone.session, here.session]).toEqual([undefined, 's'])
  expect(sessions.stopWaiting(here)).toBe(false)
})

test('one lock covers the session: renewing it keeps every message, its end takes them all', () => {
  const { queue, sessions, clock } = open()
  const holder = new TestConsumer()
  publish(queue, 's', 's')
  sessions.accept('s', holder)
  queue.dispatch()
  clock.advance(20_000)
  sessions.renew('s')
  clock.advance(29_999)
  expect(holder.sessionLost).toBe(false)
  clock.advance(1)
  expect(holder.sessionLost).toBe(true)
  expect(holder.lost.length).toBe(2)
  expect(() => sessions.renew('s')).toThrow(/expired/)
  const next = new TestConsumer()
  sessions.acceptNext(next)
  queue.dispatch()
  expect(next.received.map(({ sequenceNumber, deliveryCount }) => [sequenceNumber, deliveryCount])).toEqual([
    [1, 1],
    [2, 1],
  ])
})

test('a released session goes to the next who waits, uncounted and in order', () => {
  const { queue, sessions } = open()
  const [first, second] = [new TestConsumer(), new TestConsumer()]
  publish(queue, 's', 's', 's')
  sessions.accept('s', first)
  queue.dispatch()
  queue.complete(first.lock(0))
  const lock = first.lock(1)
  sessions.acceptNext(second)
  sessions.release('s', first)
  queue.dispatch()
  expect(second.received.map(({ sequenceNumber, deliveryCount }) => [sequenceNumber, deliveryCount])).toEqual([
    [2, 0],
    [3, 0],
  ])
  expect(() => queue.complete(lock)).toThrow(/session/)
})

test('sessions are listed while they have messages or state', () => {
  const { queue, sessions } = open()
  publish(queue, 'm')
  queue.setSessionState('state', Buffer.from('x'))
  expect(sessions.list(0)).toEqual(['m', 'state'])
  queue.setSessionState('state', undefined)
  const holder = new TestConsumer()
  sessions.accept('m', holder)
  queue.dispatch()
  queue.complete(holder.lock(0))
  sessions.release('m', holder)
  expect(sessions.list(0)).toEqual([])
})
