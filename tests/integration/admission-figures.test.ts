import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  backlogEnd,
  doubleCalls,
  fairShares,
  fairness,
  jain,
  type Observed,
  overshootTokens,
  quotaUse,
  rate429,
  waits,
} from '../../bench/admission/figures.ts'
import { type LaneName, type Offer, offeredLoad } from '../../bench/admission/offered-load.ts'
import type { TwinCall } from '../../bench/admission/twin-control.ts'

const start = 1_700_000_000_000
let serial = 0
const offer = (atMs: number, tokens = 100, lane: LaneName = 'bulk', tenant = 'alder'): Offer => ({
  key: `offer-${++serial}`,
  atMs,
  lane,
  tenant,
  tokens,
  body: { model: 'small' },
})
const call = (id: string, atMs: number, tokens = 100, outcome: TwinCall['outcome'] = 'ok'): TwinCall => ({
  index: 0,
  at: start + atMs,
  resource: 'swedencentral',
  deployment: 'bench-small',
  status: outcome === 'ok' ? 200 : 429,
  outcome,
  estimated_tokens: tokens,
  client_request_id: id,
})
const deployment = {
  resource: 'swedencentral',
  settings: { name: 'bench-small', tokens_per_minute: 1_000 },
  window_ms: 60_000,
  windows: [
    { startedAt: start - 30_000, accepted: 1_000, refused: 0 },
    { startedAt: start + 30_000, accepted: 900, refused: 0 },
    { startedAt: start + 90_000, accepted: 10, refused: 0 },
  ],
}
const observed = (offers: Offer[], calls: TwinCall[]): Observed => ({
  offers,
  startedAt: start,
  loadMs: 60_000,
  calls,
  deployments: [deployment],
  idOf: ({ key }) => key,
})

describe('the figures of the admission bench', () => {
  it('count only whole windows in which demand exceeded the quota', () => {
    const offers = Array.from({ length: 20 }, (_, index) => offer(index * 1_000))
    const calls = offers.map(({ key }, index) => call(key, index * 5_500))
    const all = observed(offers, calls)
    expect(backlogEnd(all)).toBe(start + 104_500)
    expect(quotaUse(all)).toEqual({ share: 0.9, windows: 1 })
  })

  it('find the minute, wherever it begins, in which calls went furthest beyond the tokens', () => {
    const calls = [call('a', 0, 600), call('b', 59_000, 300), call('c', 59_999, 200, 'refused'), call('d', 60_000, 400)]
    expect(overshootTokens(observed([], calls))).toBe(100)
    expect(rate429({ calls })).toBe(0.25)
  })

  it('tell how long requests waited, those included that were never served, and which were called twice', () => {
    const offers = [offer(1_000), offer(2_000)]
    const [first = '', second = ''] = offers.map(({ key }) => key)
    const calls = [call(first, 1_500, 100, 'refused'), call(first, 4_000), call(first, 9_000)]
    const all = observed(offers, calls)
    expect(waits(all, () => true, start + 60_000)).toEqual([3_000, 58_000])
    expect(doubleCalls(all)).toBe(1)
    expect(second).not.toBe(first)
  })

  it('share fairly: nobody gets more than it asks for, and nothing is left while somebody asks', () => {
    expect(fairShares(10, [8, 4, 2, 1, 1])).toEqual([3, 3, 2, 1, 1])
    fc.assert(
      fc.property(fc.nat(1_000), fc.array(fc.nat(300), { minLength: 1, maxLength: 6 }), (capacity, demands) => {
        const shares = fairShares(capacity, demands)
        const sum = (values: number[]) => values.reduce((all, value) => all + value, 0)
        expect(shares.every((share, index) => share <= (demands[index] ?? 0) + 1e-9)).toBe(true)
        expect(sum(shares)).toBeCloseTo(Math.min(capacity, sum(demands)))
      }),
    )
  })

  it('are one for equal treatment and a share of it when one tenant takes all', () => {
    expect(jain([0.7, 0.7, 0.7])).toBeCloseTo(1)
    expect(jain([1, 0, 0, 0])).toBe(0.25)
    const offers = ['alder', 'birch'].flatMap((tenant) =>
      Array.from({ length: 4 }, () => offer(0, 100, 'bulk', tenant)),
    )
    const served = (keys: Offer[]) => keys.map(({ key }) => call(key, 1_000))
    expect(fairness(observed(offers, served([...offers.slice(0, 2), ...offers.slice(4, 6)])))).toBeCloseTo(1)
    expect(fairness(observed(offers, served(offers.slice(0, 4))))).toBeLessThan(0.75)
  })

  it('meet the same load in every run, three times the quota', () => {
    const load = offeredLoad(60_000, 30)
    expect(load).toEqual(offeredLoad(60_000, 30))
    const offered = load.reduce((sum, { tokens }) => sum + tokens, 0)
    expect(offered / 30_000).toBeGreaterThan(3)
    expect(offered / 30_000).toBeLessThan(3.3)
  })
})
