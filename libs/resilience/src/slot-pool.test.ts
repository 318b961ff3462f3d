import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Slot, SlotPool } from './index.ts'

test('waiters are served in the order in which they came, before any latecomer', async () => {
  const pool = new SlotPool(1)
  const held = await pool.acquire()
  const served: string[] = []
  const first = pool.acquire().then((slot) => (served.push('first'), slot))
  const second = pool.acquire().then((slot) => (served.push('second'), slot))
  held.release()
  expect(pool.tryAcquire()).toBeUndefined()
  ;(await first).release()
  ;(await second).release()
  expect(served).toEqual(['first', 'second'])
  expect(pool.inUse).toBe(0)
})

test('releasing twice gives back one slot', async () => {
  const pool = new SlotPool(2)
  const slot = await pool.acquire()
  await pool.acquire()
  slot.release()
  slot.release()
  expect(pool.inUse).toBe(1)
})

test('an aborted waiter leaves the queue and takes no slot', async () => {
  const pool = new SlotPool(1)
  const held = await pool.acquire()
  const controller = new AbortController()
  const waiting = pool.acquire(controller.signal)
  controller.abort(new Error('stop'))
  await expect(waiting).rejects.toThrow('stop')
  held.release()
  expect(pool.inUse).toBe(0)
  await expect(pool.acquire(controller.signal)).rejects.toThrow('stop')
})

test('a waiter by callback stands in the same line, and may leave it', async () => {
  const pool = new SlotPool(1)
  const held = await pool.acquire()
  const served: string[] = []
  const slots: Slot[] = []
  const wait = (name: string) => pool.wait((slot) => (served.push(name), slots.push(slot)))
  wait('first')
  const leave = wait('left')
  const last = pool.acquire().then((slot) => (served.push('last'), slot))
  leave()
  held.release()
  expect(served).toEqual(['first'])
  slots[0]?.release()
  ;(await last).release()
  leave()
  expect(served).toEqual(['first', 'last'])
  expect(pool.inUse).toBe(0)
})

test('a long line keeps its order while some leave and others join', () => {
  const pool = new SlotPool(1)
  const served: number[] = []
  const slots: Slot[] = []
  const wait = (n: number) => pool.wait((slot) => (served.push(n), slots.push(slot)))
  const leave = Array.from({ length: 2_000 }, (_, n) => wait(n))
  for (let n = 0; n < 2_000; n += 3) leave[n]?.()
  const first = pool.tryAcquire()
  expect(first).toBeUndefined()
  pool.resize(2)
  for (let n = 2_000; n < 3_000; n++) {
    slots.shift()?.release()
    leave.push(wait(n))
    leave[n - 2_000]?.()
  }
  while (slots.length > 0) slots.shift()?.release()
  const expected = Array.from({ length: 3_000 }, (_, n) => n).filter((n) => served.includes(n))
  expect(served).toEqual(expected)
  expect(served.slice(-3)).toEqual([2_997, 2_998, 2_999])
  expect(served.some((n) => n < 2_000 && n % 3 === 0)).toBe(false)
  expect(pool.inUse).toBe(0)
})

test('growing serves waiters at once, shrinking waits for slots to come back', async () => {
  const pool = new SlotPool(1)
  const slots = [await pool.acquire()]
  const waiting = pool.acquire()
  pool.resize(2)
  slots.push(await waiting)
  pool.resize(1)
  expect([pool.inUse, pool.size]).toEqual([2, 1])
  slots[0]?.release()
  expect(pool.tryAcquire()).toBeUndefined()
  slots[1]?.release()
  expect(pool.tryAcquire()).toBeDefined()
})

test.each([0, -1, 1.5, Number.NaN])('a pool of %s slots is refused', (size) => {
  expect(() => new SlotPool(size)).toThrow(RangeError)
  expect(() => new SlotPool(1).resize(size)).toThrow(RangeError)
})

test('no order of operations hands out more slots than there are, or keeps one from a waiter', async () => {
  const operation = fc.oneof(
    fc.constant({ kind: 'acquire' as const }),
    fc.record({ kind: fc.constant('release' as const), index: fc.nat(20) }),
    fc.record({ kind: fc.constant('abort' as const), index: fc.nat(20) }),
  )
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(operation, { maxLength: 40 }),
      async (size, operations) => {
        const pool = new SlotPool(size)
        const held: Slot[] = []
        const waiting: { abort: AbortController; done: boolean }[] = []
        for (const op of operations) {
          if (op.kind === 'acquire') {
            const entry = { abort: new AbortController(), done: false }
            waiting.push(entry)
            void pool.acquire(entry.abort.signal).then(
              (slot) => ((entry.done = true), held.push(slot)),
              () => (entry.done = true),
            )
          } else if (op.kind === 'release') held.splice(op.index % Math.max(1, held.length), 1)[0]?.release()
          else waiting[op.index % Math.max(1, waiting.length)]?.abort.abort()
          await new Promise<void>((resolve) => setImmediate(resolve))
          expect(pool.inUse).toBe(held.length)
          expect(held.length).toBeLessThanOrEqual(size)
          if (waiting.some((entry) => !entry.done)) expect(held.length).toBe(size)
        }
      },
    ),
    { numRuns: 50 },
  )
})
