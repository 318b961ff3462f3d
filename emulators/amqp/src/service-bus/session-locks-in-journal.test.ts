import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Broker } from '../broker.ts'
import { ManualClock } from '../clock.ts'
import { readEventHubsConfig } from '../config/event-hubs-config.ts'
import { readServiceBusConfig } from '../config/service-bus-config.ts'
import { sqliteJournal } from '../store/sqlite-journal.ts'
import type { MessageQueue } from './message-queue.ts'
import { TestConsumer, testDraft } from './queue-harness.ts'
import type { SessionDispatcher } from './session-dispatcher.ts'

const lockMs = 10_000
const config = {
  UserConfig: {
    Namespaces: [{ Name: 'ns', Queues: [{ Name: 'q', Properties: { RequiresSession: true, LockDuration: 'PT10S' } }] }],
  },
}

let directory: string
const brokers: Broker[] = []
beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'sluice-amqp-sessions-'))))
afterEach(() => {
  for (const broker of brokers.splice(0)) broker.close()
  rmSync(directory, { recursive: true, force: true })
})

type Run = {
  queue: MessageQueue
  sessions: SessionDispatcher
  clock: ManualClock
  restart(downMs?: number): Promise<Run>
}

/** A broker on the directory. A restart leaves its holders behind, as a crash does. */
const start = (atMs = 1_000_000): Run => {
  const clock = new ManualClock(atMs)
  const broker = new Broker({
    clock,
    journal: sqliteJournal(directory, () => clock.now()),
    serviceBus: readServiceBusConfig(config),
    eventHubs: readEventHubsConfig({}),
  })
  brokers.push(broker)
  const { queue } = broker.entities.namespace.resolve('q')
  const { sessions } = queue
  if (sessions === undefined) throw new Error('no sessions')
  const restart = async (downMs = 0): Promise<Run> => {
    // What was sent in this turn is dispatched at its end.
    await setImmediate()
    broker.close()
    brokers.splice(brokers.indexOf(broker), 1)
    return start(clock.now() + downMs)
  }
  return { queue, sessions, clock, restart }
}
const publish = ({ queue }: Run, ...sessionIds: string[]) =>
  queue.publish(sessionIds.map((sessionId) => testDraft({ sessionId })))

test('a locked session stays locked for everyone, and the next session is another one', async () => {
  const before = start()
  publish(before, 'held', 'free')
  before.sessions.accept('held', new TestConsumer())
  const { sessions, queue, clock } = await before.restart()
  expect(() => sessions.accept('held', new TestConsumer())).toThrow(/cannot be accepted/)
  const [next, later] = [new TestConsumer(), new TestConsumer()]
  sessions.acceptNext(next)
  sessions.acceptNext(later)
  expect([next.session, later.session]).toEqual(['free', undefined])
  clock.advance(lockMs - 1)
  expect(later.session).toBeUndefined()
  clock.advance(1)
  queue.dispatch()
  expect([later.session, later.numbers]).toEqual(['held', [1]])
})

test('by its lock token a delivery is settled while the lock holds; what was not settled counts when it ends', async () => {
  const before = start()
  publish(before, 's', 's', 's')
  const holder = new TestConsumer(2)
  before.sessions.accept('s', holder)
  before.queue.dispatch()
  const { sessions, queue, clock } = await before.restart()
  queue.complete(holder.lock(0))
  clock.advance(lockMs)
  expect(() => queue.complete(holder.lock(1))).toThrow(/session/)
  const next = new TestConsumer()
  sessions.accept('s', next)
  queue.dispatch()
  expect(next.received.map(({ sequenceNumber, deliveryCount }) => [sequenceNumber, deliveryCount])).toEqual([
    [2, 1],
    [3, 0],
  ])
})

test('a renewal counts, before the restart and after it', async () => {
  const before = start()
  publish(before, 's')
  const holder = new TestConsumer()
  before.sessions.accept('s', holder)
  before.queue.dispatch()
  before.clock.advance(lockMs / 2)
  before.sessions.renew('s')
  const { sessions, queue, clock } = await before.restart()
  clock.advance(lockMs - 1)
  sessions.renew('s')
  clock.advance(lockMs - 1)
  expect(() => sessions.accept('s', new TestConsumer())).toThrow(/cannot be accepted/)
  queue.complete(holder.lock(0))
  expect(queue.contents.size).toBe(0)
})

test('a session that was given up is free, and its deliveries are uncounted and unlocked', async () => {
  const before = start()
  publish(before, 's')
  const holder = new TestConsumer()
  before.sessions.accept('s', holder)
  before.queue.dispatch()
  before.sessions.release('s', holder)
  before.sessions.accept('s', new TestConsumer(0))
  const { sessions, queue, clock } = await before.restart()
  expect(() => queue.complete(holder.lock(0))).toThrow(/session/)
  clock.advance(lockMs)
  const next = new TestConsumer()
  sessions.acceptNext(next)
  queue.dispatch()
  expect(next.received.map(({ sequenceNumber, deliveryCount }) => [sequenceNumber, deliveryCount])).toEqual([[1, 0]])
})

test('a lock that ended while the broker was down is over at once', async () => {
  const before = start()
  publish(before, 's')
  before.sessions.accept('s', new TestConsumer())
  const { sessions, queue, clock } = await before.restart(lockMs)
  clock.advance(0)
  const next = new TestConsumer()
  sessions.accept('s', next)
  queue.dispatch()
  expect(next.numbers).toEqual([1])
})

test('whoever waits for the next session gets it when its old lock is lost', async () => {
  const before = start()
  publish(before, 's')
  before.sessions.accept('s', new TestConsumer())
  const { sessions } = await before.restart()
  const waiting = new TestConsumer()
  sessions.acceptNext(waiting)
  expect(waiting.session).toBeUndefined()
  expect(sessions.loseLocks()).toBe(1)
  expect(waiting.session).toBe('s')
})
