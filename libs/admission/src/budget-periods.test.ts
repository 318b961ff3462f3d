import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { periodAt, resetsInMs, toNano, toUsd } from './budget-periods.ts'

describe('periodAt', () => {
  it('names the day and the month in UTC', () => {
    expect(periodAt(Date.UTC(2026, 11, 31, 23, 59, 59, 999))).toEqual({ day: '2026-12-31', month: '2026-12' })
    expect(periodAt(Date.UTC(2027, 0, 1))).toEqual({ day: '2027-01-01', month: '2027-01' })
  })
})

describe('resetsInMs', () => {
  it('ends with the year, and with February in a leap year', () => {
    expect(resetsInMs('month', Date.UTC(2026, 11, 31, 23))).toBe(3600_000)
    expect(resetsInMs('month', Date.UTC(2028, 1, 28))).toBe(2 * 86_400_000)
    expect(resetsInMs('day', Date.UTC(2026, 1, 28, 12))).toBe(43_200_000)
  })

  it('is the first moment of the next period', () => {
    fc.assert(
      fc.property(fc.integer({ min: Date.UTC(2020, 0), max: Date.UTC(2040, 0) }), (at) => {
        for (const period of ['day', 'month'] as const) {
          const end = at + resetsInMs(period, at)
          expect(periodAt(end)[period]).not.toBe(periodAt(at)[period])
          expect(periodAt(end - 1)[period]).toBe(periodAt(at)[period])
        }
      }),
    )
  })
})

describe('nano-dollars', () => {
  it('keep the price of one token of a small model', () => {
    expect(toNano(0.075 / 1e6)).toBe(75)
    expect(toUsd(toNano(1_234.567_89))).toBe(1_234.567_89)
  })
})
