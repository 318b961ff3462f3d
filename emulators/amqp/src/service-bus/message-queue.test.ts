import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MessageQueue } from './message-queue.ts'
import type { EntityProperties } from './entity-properties.ts'
import { TestConsumer, testContext, testDraft, testProperties } from './queue-harness.ts'

const open = (changes: Partial<EntityProperties> = {}, credit = 100) => {
  const { context, clock } = testContext()
  const queue = new MessageQueue(context, 'q', testProperties(changes))
  const consumer = new TestConsumer(credit)
  queue.plain?.addConsumer(consumer)
  return { queue, clock, consumer }
}
const publish = (queue: MessageQueue, count: number) => queue.publish(Array.from({ length: count }, () => testDraft()))

describe('delivery', () => {
  test('messages go out in order, as far as there is credit', () => {
    const { queue, consumer } = open({}, 2)
    publish(queue, 3)
    queue.dispatch()
    expect(consumer.numbers).toEqual([1, 2])
    consumer.credit = 1
    queue.dispatch()
    expect(consumer.numbers).toEqual([1, 2, 3])
  })

  test('competing consumers take turns', () => {
    const { queue, consumer } = open()
    const other = new TestConsumer()
    queue.plain?.addConsumer(other)
    publish(queue, 4)
    queue.dispatch()
    expect([consumer.numbers, other.numbers]).toEqual([
      [1, 3],
      [2, 4],
    ])
  })

  test('receive-and-delete leaves nothing behind', () => {
    const { context } = testContext()
    const queue = new MessageQueue(context, 'q', testProperties())
    queue.plain?.addConsumer(new TestConsumer(10, 'receive-and-delete'))
    publish(queue, 2)
    queue.dispatch()
    expect(queue.contents.size).toBe(0)
  })
})

describe('locks', () => {
  test('a lock ends exactly at its time: before it settlement succeeds, at it settlement fails', () => {
    const { queue, clock, consumer } = open()
    publish(queue, 2)
    queue.dispatch()
    clock.advance(29_999)
    queue.complete(consumer.lock(0))
    const second = consumer.lock(1)
    clock.advance(1)
    expect(() => queue.complete(second)).toThrow(/lock/)
    expect(consumer.lost).toEqual([second])
  })

  test('renewal counts from now, and the renewed lock outlives the others', () => {
    const { queue, clock, consumer } = open()
    publish(queue, 2)
    queue.dispatch()
    const [first, second] = [consumer.lock(0), consumer.lock(1)]
    clock.advance(20_000)
    expect(queue.renewLock(first)).toBe(clock.now() + 30_000)
    clock.advance(10_000)
    expect(consumer.lost).toEqual([second])
    queue.complete(first)
  })

  test('the last delivery whose lock expires goes to the dead letters', () => {
    const { queue, clock, consumer } = open({ maxDeliveryCount: 2 })
    publish(queue, 1)
    for (let delivery = 0; delivery < 2; delivery++) {
      queue.dispatch()
      clock.advance(30_000)
    }
    expect(consumer.numbers).toEqual([1, 1])
    expect([queue.contents.size, queue.deadLetters?.contents.size]).toEqual([0, 1])
  })

  test('a message cannot be settled twice', () => {
    const { queue, consumer } = open()
    publish(queue, 1)
    queue.dispatch()
    const lock = consumer.lock(0)
    queue.complete(lock)
    expect(() => queue.complete(lock)).toThrow(/lock/)
    expect(() => queue.abandon(lock)).toThrow(/lock/)
  })

  test('losing all locks at once makes every message available again', () => {
    const { queue, consumer } = open({}, 3)
    publish(queue, 3)
    queue.dispatch()
    expect(queue.loseLocks()).toBe(3)
    consumer.credit = 3
    queue.dispatch()
    expect(consumer.numbers).toEqual([1, 2, 3, 1, 2, 3])
  })
})

describe('scheduled and expiring messages', () => {
  test('a scheduled message becomes active at its time and not before', () => {
    const { queue, clock, consumer } = open()
    queue.publish([testDraft({ scheduledAtMs: clock.now() + 5000 })])
    clock.advance(4999)
    queue.dispatch()
    expect(consumer.numbers).toEqual([])
    clock.advance(1)
    queue.dispatch()
    expect(consumer.numbers).toEqual([2])
  })

  test('time to live counts from the scheduled time', () => {
    const { queue, clock } = open({}, 0)
    queue.publish([testDraft({ scheduledAtMs: clock.now() + 5000, ttlMs: 1000 })])
    clock.advance(5999)
    expect(queue.peek(0, 5).length).toBe(1)
    clock.advance(1)
    expect(queue.contents.size).toBe(0)
  })
})

test('a full entity refuses the whole batch', () => {
  const { queue } = open({ maxSizeBytes: 100 }, 0)
  expect(() => publish(queue, 50)).toThrow(/maximum size/)
  expect(queue.contents.size).toBe(0)
})

test('whatever is done to it, each message is in exactly one place and delivered to one holder at a time', () => {
  const action = fc.oneof(
    fc.record({ kind: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ kind: fc.constantFrom('complete', 'abandon', 'defer', 'deadLetter'), index: fc.nat(20) }),
    fc.record({ kind: fc.constant('advance' as const), ms: fc.integer({ min: 1, max: 40_000 }) }),
  )
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const { queue, clock, consumer } = open({ maxDeliveryCount: 3 }, 1_000_000)
      let published = 0
      let completed = 0
      for (const step of actions) {
        if (step.kind === 'publish') {
          published += step.count
          publish(queue, step.count)
        } else if (step.kind === 'advance') clock.advance(step.ms)
        else {
          const lock = consumer.lock(step.index)
          const held = lock !== 0
          if (step.kind === 'complete' && held) completed++
          if (held && step.kind === 'complete') queue.complete(lock)
          else if (held && step.kind === 'abandon') queue.abandon(lock)
          else if (held && step.kind === 'defer') queue.defer(lock)
          else if (held) queue.deadLetter(lock, {})
        }
        queue.dispatch()
        const locks = [...queue.contents.all()].flatMap(({ lock }) => (lock === undefined ? [] : [lock.id]))
        expect(new Set(locks).size).toBe(locks.length)
        expect(queue.contents.size + (queue.deadLetters?.contents.size ?? 0) + completed).toBe(published)
      }
    }),
  )
})
