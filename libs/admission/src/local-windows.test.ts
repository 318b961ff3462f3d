import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LocalWindows } from './local-windows.ts'

const quota = { name: 'a', tokensPerMinute: 1_000, requestsPerMinute: 120 }

describe('LocalWindows', () => {
  it('holds its share of the tokens for the whole window', () => {
    const windows = new LocalWindows(0.5)
    windows.spend('a', 300, 0)
    windows.spend('a', 150, 20_000)
    expect(windows.waitFor(quota, 50, 30_000)).toBe(0)
    expect(windows.waitFor(quota, 51, 30_000)).toBe(31_000)
    expect(windows.waitFor(quota, 351, 30_000)).toBe(51_000)
    expect(windows.waitFor(quota, 51, 61_000)).toBe(0)
    expect(windows.used('a', 61_000)).toBe(150)
  })

  it('cannot ever hold a call beyond its share', () => {
    expect(new LocalWindows(0.25).waitFor(quota, 251, 0)).toBe(Number.POSITIVE_INFINITY)
  })

  it('spreads less than one call a window over a longer one', () => {
    const windows = new LocalWindows(0.25)
    windows.spend('a', 1, 0)
    // 120 a minute are 2 a second; a quarter of that is 1 in two seconds.
    expect(windows.waitFor(quota, 1, 0)).toBe(2_080)
    expect(windows.waitFor(quota, 1, 2_080)).toBe(0)
  })

  it('waits for the end of a cool-down, and keeps what was spent before it', () => {
    const windows = new LocalWindows(1)
    windows.spend('a', 900, 0)
    windows.cool('a', 50_000)
    windows.cool('a', 40_000)
    expect(windows.waitFor(quota, 1, 10_000)).toBe(40_000)
    expect(windows.used('a', 10_000)).toBe(900)
  })

  it('never lets a window hold more than its share, whatever comes in', () => {
    const call = fc.record({ afterMs: fc.integer({ min: 0, max: 3_000 }), tokens: fc.integer({ min: 1, max: 200 }) })
    const share = 0.5
    fc.assert(
      fc.property(fc.array(call, { maxLength: 200 }), (calls) => {
        const windows = new LocalWindows(share)
        const spent: { at: number; tokens: number }[] = []
        let now = 0
        for (const { afterMs, tokens } of calls) {
          now += afterMs
          const wait = windows.waitFor(quota, tokens, now)
          if (wait > 0) {
            // The moment that it names is the earliest: a millisecond before it there is no room.
            now += wait - 1
            expect(windows.waitFor(quota, tokens, now)).toBe(1)
            continue
          }
          windows.spend('a', tokens, now)
          spent.push({ at: now, tokens })
          const within = (window: number) => spent.filter(({ at }) => at > now - window)
          expect(within(60_000).reduce((sum, one) => sum + one.tokens, 0)).toBeLessThanOrEqual(1_000 * share)
          expect(within(1_000).length).toBeLessThanOrEqual(Math.max(1, 2 * share))
          expect(within(10_000).length).toBeLessThanOrEqual(20 * share)
        }
      }),
    )
  })
})
