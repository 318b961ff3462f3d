import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { encodeString } from '../amqp/encode.ts'
import { pack } from '../amqp/packed-bytes.ts'
import type { Journal } from '../store/journal.ts'
import { memoryJournal } from '../store/memory-journal.ts'
import { MemoryRelease } from '../store/memory-release.ts'
import { sqliteJournal } from '../store/sqlite-journal.ts'
import type { BrokeredMessage } from './brokered-message.ts'
import { MessageQueue } from './message-queue.ts'
import { TestConsumer, testContext, testDraft, testProperties } from './queue-harness.ts'

const bodies = ['one', 'two', 'three'].map((text) =>
  pack(Buffer.concat([Buffer.from([0x00, 0x53, 0x75, 0xa0, text.length]), Buffer.from(text)])),
)
const bodyBytes = bodies[0]?.length ?? 0

let directory: string
let journal: Journal
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-amqp-bodies-'))
  journal = sqliteJournal(directory, () => 0)
})
afterEach(() => {
  journal.close()
  rmSync(directory, { recursive: true, force: true })
})

/** A queue whose memory is full once it holds `plentyBytes`. */
const open = (plentyBytes: number, on: Journal = journal) => {
  const memory = new MemoryRelease(plentyBytes)
  const { context, clock } = testContext({ journal: on, memory })
  const queue = new MessageQueue(context, 'q', testProperties())
  return { queue, memory, clock }
}
const fill = (queue: MessageQueue) => queue.publish(bodies.map((bare) => testDraft({ bare })))
const inMemory = (queue: MessageQueue) => queue.peek(0, 10).map(({ bare }) => bare !== undefined)
const waiting = (queue: MessageQueue) => queue.peek(0, 10).map((message) => queue.contents.bareOf(message))

describe('bare messages that only the journal keeps', () => {
  test('the head stays in memory, and what arrives once memory is full does not', () => {
    const { queue, memory } = open(bodyBytes)
    fill(queue)
    expect(inMemory(queue)).toEqual([true, false, false])
    expect(waiting(queue)).toEqual(bodies)
    expect(queue.contents.bytes).toBe(bodies.join('').length)
    for (const message of queue.peek(0, 10)) queue.contents.remove(message)
    expect([memory.isFull, queue.contents.bytes]).toEqual([false, 0])
    fill(queue)
    expect(inMemory(queue)).toEqual([true, false, false])
  })

  test('without a journal everything stays in memory', () => {
    const { queue } = open(0, memoryJournal())
    fill(queue)
    expect(inMemory(queue)).toEqual([true, true, true])
  })

  test('receive-and-delete delivers bytes whose row is gone', () => {
    const { queue } = open(0)
    fill(queue)
    const consumer = new TestConsumer(10, 'receive-and-delete')
    queue.plain?.addConsumer(consumer)
    queue.dispatch()
    expect(consumer.received.map((message) => queue.contents.bareOf(message))).toEqual(bodies)
    expect(queue.contents.size).toBe(0)
  })

  test('changed properties, dead letters and deferred messages keep the body', () => {
    const { queue } = open(0)
    fill(queue)
    const consumer = new TestConsumer(3)
    queue.plain?.addConsumer(consumer)
    queue.dispatch()
    queue.abandon(consumer.lock(0), new Map([['colour', encodeString('red')]]))
    queue.deadLetter(consumer.lock(1), { reason: 'broken' })
    queue.defer(consumer.lock(2))
    const [abandoned] = waiting(queue)
    expect(abandoned).toContain('red')
    expect(abandoned?.endsWith(bodies[0] ?? '-')).toBe(true)
    const [deadLetter] = queue.deadLetters === undefined ? [] : waiting(queue.deadLetters)
    expect(deadLetter).toContain('broken')
    expect(deadLetter?.endsWith(bodies[1] ?? '-')).toBe(true)
    const [deferred] = queue.receiveDeferred([3], undefined, true)
    expect(deferred && queue.contents.bareOf(deferred)).toBe(bodies[2])
  })

  test('a scheduled message keeps its body when it becomes active', () => {
    const { queue, clock } = open(0)
    queue.publish([testDraft({ bare: bodies[0] ?? pack(Buffer.alloc(0)), scheduledAtMs: clock.now() + 1000 })])
    clock.advance(1000)
    expect(queue.peek(0, 10).map(({ state }) => state)).toEqual(['active'])
    expect(waiting(queue)).toEqual([bodies[0]])
  })

  test('a restart reads no more into memory than fits', () => {
    fill(open(0).queue)
    journal.close()
    journal = sqliteJournal(directory, () => 0)
    const { queue } = open(2 * bodyBytes)
    const nothing = (): void => undefined
    journal.restore({
      message: (_entity: number, message: BrokeredMessage) => queue.restore(message),
      sequence: nothing,
      sessionLock: nothing,
      sessionState: nothing,
      duplicate: nothing,
      rules: nothing,
      event: nothing,
      run: nothing,
    })
    expect(inMemory(queue)).toEqual([true, true, false])
    expect(waiting(queue)).toEqual(bodies)
  })

  test('bytes that left the journal are an error, not an empty message', () => {
    const { queue } = open(0)
    fill(queue)
    const [message] = queue.peek(0, 1)
    if (message === undefined) throw new Error('the queue is empty')
    queue.contents.remove(message)
    expect(() => queue.contents.bareOf(message)).toThrow('not in the journal')
  })
})
