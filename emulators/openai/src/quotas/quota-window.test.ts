import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { PtuBucket } from './ptu-bucket.ts'
import { FixedWindow, SlidingWindow } from './quota-window.ts'

const limit = 100
const calls = fc.array(
  fc.record({ afterMs: fc.integer({ min: 0, max: 20_000 }), amount: fc.integer({ min: 1, max: 60 }) }),
  { maxLength: 60 },
)

/** Offers the calls to a window and returns those that it accepted, with their times. */
function run(
  window: FixedWindow | SlidingWindow,
  offered: { afterMs: number; amount: number }[],
): { at: number; amount: number }[] {
  const accepted: { at: number; amount: number }[] = []
  let now = 1_000_000
  for (const { afterMs, amount } of offered) {
    now += afterMs
    if (window.waitFor(amount, limit, now) > 0) continue
    window.accept(amount, now)
    accepted.push({ at: now, amount })
  }
  return accepted
}

test('a sliding window holds at most its limit in every 60 seconds', () => {
  fc.assert(
    fc.property(calls, (offered) => {
      const accepted = run(new SlidingWindow(60_000), offered)
      for (const { at } of accepted) {
        const inWindow = accepted.filter((call) => call.at > at - 60_000 && call.at <= at)
        expect(inWindow.reduce((sum, call) => sum + call.amount, 0)).toBeLessThanOrEqual(limit)
      }
    }),
  )
})

test('a fixed window holds at most its limit in each of its periods, whatever its phase', () => {
  fc.assert(
    fc.property(calls, fc.integer({ min: 0, max: 59_999 }), (offered, phase) => {
      const byPeriod = new Map<number, number>()
      for (const { at, amount } of run(new FixedWindow(60_000, phase), offered)) {
        const period = Math.floor((at - phase) / 60_000)
        byPeriod.set(period, (byPeriod.get(period) ?? 0) + amount)
      }
      for (const used of byPeriod.values()) expect(used).toBeLessThanOrEqual(limit)
    }),
  )
})

test('waiting as long as a window says is enough, and a millisecond less is not', () => {
  fc.assert(
    fc.property(calls, fc.boolean(), (offered, sliding) => {
      const window = sliding ? new SlidingWindow(60_000) : new FixedWindow(60_000, 12_345)
      run(window, offered)
      const now = 1_000_000 + offered.reduce((sum, call) => sum + call.afterMs, 0)
      const wait = window.waitFor(90, limit, now)
      if (wait === 0) return
      expect(window.waitFor(90, limit, now + wait - 1)).toBeGreaterThan(0)
      expect(window.waitFor(90, limit, now + wait)).toBe(0)
    }),
  )
})

test('an amount over the limit is told to wait a day', () => {
  expect(new FixedWindow(60_000, 0).waitFor(101, limit, 0)).toBe(86_400_000)
  expect(new SlidingWindow(60_000).waitFor(101, limit, 0)).toBe(86_400_000)
})

test('past windows are kept as records, the newest last', () => {
  const window = new FixedWindow(1_000, 0, 2)
  for (const now of [0, 1_000, 2_000, 3_000]) window.accept(now / 1_000 + 1, now)
  window.refuse(9, 3_500)
  expect(window.records(3_900)).toEqual([
    { startedAt: 1_000, accepted: 2, refused: 0 },
    { startedAt: 2_000, accepted: 3, refused: 0 },
    { startedAt: 3_000, accepted: 4, refused: 9 },
  ])
})

test('a PTU bucket takes calls until it is full, drains at its rate and is corrected', () => {
  const bucket = new PtuBucket(0)
  bucket.pour(1_500, 1_000, 0)
  expect(bucket.utilisation(1_000, 0)).toBe(1.5)
  const wait = bucket.waitMs(1_000, 0)
  expect(bucket.waitMs(1_000, wait - 1)).toBeGreaterThan(0)
  expect(bucket.waitMs(1_000, wait)).toBe(0)
  bucket.correct(1_500, 100, 1_000, wait)
  expect(bucket.utilisation(1_000, wait)).toBe(0)
})
