import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LendingPool, type Slot } from './index.ts'

const lanes = [
  { name: 'interactive', share: 0.5 },
  { name: 'standard', share: 0.25 },
  { name: 'bulk', share: 0.1 },
]

/** Takes until there is no more. */
function takeAll(pool: LendingPool, name: string): Slot[] {
  const slots: Slot[] = []
  for (let slot = pool.member(name).tryAcquire(); slot; slot = pool.member(name).tryAcquire()) slots.push(slot)
  return slots
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

describe('a pool of 20', () => {
  test('lends a busy member everything but a quarter of the others', () => {
    const pool = new LendingPool(20, lanes)
    expect(lanes.map(({ name }) => pool.member(name).size)).toEqual([10, 5, 2])
    // 3 and 2 stay for the other two.
    expect(takeAll(pool, 'bulk')).toHaveLength(15)
    expect(takeAll(pool, 'interactive')).toHaveLength(3)
    expect(takeAll(pool, 'standard')).toHaveLength(2)
    expect(pool.inUse).toBe(20)
  })

  test('gives an owner its share back with the next slots, before a borrower gets another', async () => {
    const pool = new LendingPool(20, lanes)
    const lent = takeAll(pool, 'bulk')
    takeAll(pool, 'interactive')
    const got: string[] = []
    const wait = (name: string) =>
      void pool
        .member(name)
        .acquire()
        .then(() => got.push(name))
    wait('bulk')
    for (let n = 0; n < 8; n++) wait('interactive')
    for (const slot of lent.splice(0, 7)) slot.release()
    await turn()
    // Two of the nine free ones are kept for standard, which has none yet.
    expect(got).toEqual(Array(7).fill('interactive'))
    expect(pool.member('interactive').inUse).toBe(10)
    expect(pool.member('bulk').tryAcquire()).toBeUndefined()
    // Interactive has all of its own now: the next goes to who has least of its own.
    lent.pop()?.release()
    await turn()
    expect(got).toHaveLength(8)
  })

  test('serves those who come first for their member before the others', async () => {
    const pool = new LendingPool(2, [{ name: 'a', share: 1 }])
    const held = takeAll(pool, 'a')
    const got: string[] = []
    void pool
      .member('a')
      .acquire()
      .then(() => got.push('later'))
    void pool
      .member('a')
      .acquire(undefined, { first: true })
      .then(() => got.push('first'))
    for (const slot of held) slot.release()
    await turn()
    expect(got).toEqual(['first', 'later'])
  })

  test('forgets a waiter that gave up, and whom it held back', async () => {
    const pool = new LendingPool(4, [
      { name: 'a', share: 0.5 },
      { name: 'b', share: 0.5 },
    ])
    const [slot, ...rest] = takeAll(pool, 'a')
    expect(rest).toHaveLength(2)
    expect(takeAll(pool, 'b')).toHaveLength(1)
    const giveUp = new AbortController()
    const b = pool.member('b').acquire(giveUp.signal)
    const a = pool.member('a').acquire()
    giveUp.abort(new Error('enough'))
    await expect(b).rejects.toThrow('enough')
    slot?.release()
    ;(await a).release()
    expect(pool.inUse).toBe(3)
  })
})

test('of a few slots everybody has one, at the cost of whoever has most', () => {
  const pool = new LendingPool(3, lanes)
  expect(lanes.map(({ name }) => pool.member(name).size)).toEqual([1, 1, 1])
})

test.each([
  ['too few slots', () => new LendingPool(2, lanes)],
  ['no whole number', () => new LendingPool(20.5, lanes)],
  ['an unknown member', () => new LendingPool(20, lanes).member('nobody')],
])('%s: refused', (_, make) => {
  expect(make).toThrow(RangeError)
})

test('no order of asking, giving back and giving up breaks a promise', async () => {
  const names = lanes.map(({ name }) => name)
  const step = fc.record({
    kind: fc.constantFrom('try', 'wait', 'wait', 'release', 'release', 'abort'),
    name: fc.constantFrom(...names),
    index: fc.nat(30),
    first: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 8, max: 24 }), fc.array(step, { maxLength: 80 }), async (size, steps) => {
      const pool = new LendingPool(size, lanes)
      const held: { name: string; slot: Slot }[] = []
      const waiting: { name: string; abort: AbortController; done: boolean }[] = []
      for (const { kind, name, index, first } of steps) {
        const member = pool.member(name)
        if (kind === 'try') {
          const owned = member.inUse < member.kept && !waiting.some((one) => one.name === name && !one.done)
          const slot = member.tryAcquire()
          if (owned) expect(slot).toBeDefined()
          if (slot) held.push({ name, slot })
        } else if (kind === 'wait') {
          const entry = { name, abort: new AbortController(), done: false }
          waiting.push(entry)
          void member.acquire(entry.abort.signal, { first }).then(
            (slot) => ((entry.done = true), held.push({ name, slot })),
            () => (entry.done = true),
          )
        } else if (kind === 'release') held.splice(index % Math.max(1, held.length), 1)[0]?.slot.release()
        else waiting[index % Math.max(1, waiting.length)]?.abort.abort(new Error('gave up'))
        await turn()

        expect(pool.inUse).toBe(held.length)
        expect(pool.inUse).toBeLessThanOrEqual(size)
        const wants = (name: string) => waiting.some((one) => one.name === name && !one.done)
        let keptFree = 0
        for (const one of names) {
          const { inUse, kept, size: guaranteed } = pool.member(one)
          expect(inUse).toBe(held.filter((entry) => entry.name === one).length)
          keptFree += Math.max(0, kept - inUse)
          // Nobody waits for what is kept for them.
          if (wants(one)) expect(inUse).toBeGreaterThanOrEqual(Math.min(kept, guaranteed))
        }
        expect(size - pool.inUse).toBeGreaterThanOrEqual(keptFree)
        // Nobody waits while there is a slot that is kept for nobody.
        if (names.some(wants)) expect(size - pool.inUse).toBe(keptFree)
      }
    }),
    { numRuns: 200 },
  )
})
