import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { fullJitter } from './index.ts'

test('the bound doubles from the base up to the cap', () => {
  const bound = fullJitter({ baseMs: 100, capMs: 1000 })
  expect([1, 2, 3, 4, 5, 50, 5000].map((attempt) => bound(attempt, () => 1))).toEqual([
    100, 200, 400, 800, 1000, 1000, 1000,
  ])
})

test('every wait lies between zero and the bound, whatever the attempt', () => {
  const wait = fullJitter({ baseMs: 50, capMs: 2000, factor: 3 })
  fc.assert(
    fc.property(fc.integer({ min: -5, max: 10_000 }), fc.double({ min: 0, max: 1, noNaN: true }), (attempt, random) => {
      const ms = wait(attempt, () => random)
      return ms >= 0 && ms <= Math.min(2000, 50 * 3 ** Math.max(0, attempt - 1))
    }),
  )
})
