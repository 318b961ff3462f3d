import { ManualClock } from '@sluice/resilience'
import { describe, expect, it } from 'vitest'
import { createRegionAffinity, homeOf } from './region-affinity.ts'

const deployments = [{ region: 'eastus2' }, { region: 'swedencentral' }, { region: 'eastus2' }]
const route = { candidates: deployments as never[], fallbacks: [] }

function memory() {
  const kept = new Map<string, string>()
  const redis = {
    asked: 0,
    getex: async (key: string) => {
      redis.asked++
      return kept.get(key) ?? null
    },
    set: async (key: string, value: string) => kept.set(key, value),
  }
  return { kept, redis }
}

describe('region affinity', () => {
  it('does not wait for a Redis that is slow, nor fail with one that is away', async () => {
    const clock = new ManualClock()
    let asked = 0
    const silent = {
      getex: () => {
        asked++
        return new Promise<string | null>(() => undefined)
      },
      set: async () => 'OK',
    }
    const slow = createRegionAffinity({ redis: silent, deployments, clock })
    const found = slow.find('contoso', 'conv-1')
    await clock.advance(100)
    const bound = await found
    expect(bound.last).toBeUndefined()
    expect(bound.home).toEqual(homeOf('conv-1', 'contoso', ['swedencentral', 'eastus2']))
    // For a moment nobody asks again.
    expect(await slow.find('contoso', 'conv-1')).toEqual(bound)
    expect(asked).toBe(1)
    await clock.advance(1_000)
    void slow.find('contoso', 'conv-1')
    expect(asked).toBe(2)

    const away = { getex: () => Promise.reject(new Error('away')), set: () => Promise.reject(new Error('away')) }
    const affinity = createRegionAffinity({ redis: away, deployments, clock })
    const without = await affinity.find('contoso', 'conv-1')
    expect(without.last).toBeUndefined()
    // A rejection that nobody handled would end the test run.
    affinity.answered(without, route, 'eastus2')
  })

  it('keeps tenants apart', async () => {
    const affinity = createRegionAffinity({ redis: memory().redis, deployments, clock: new ManualClock() })
    affinity.answered(await affinity.find('contoso', 'a'), route, 'eastus2')
    expect((await affinity.find('contoso', 'a')).last).toBe('eastus2')
    expect((await affinity.find('fabrikam', 'a')).last).toBeUndefined()
  })

  it('moves with an answer from elsewhere, unless that could not have come from its region', async () => {
    const { kept, redis } = memory()
    const affinity = createRegionAffinity({ redis, deployments, clock: new ManualClock() })
    const [key] = ['sluice:affinity:contoso|a']
    affinity.answered(await affinity.find('contoso', 'a'), route, 'eastus2')
    const elsewhere = { candidates: [{ region: 'swedencentral' }] as never[], fallbacks: [] }
    affinity.answered(await affinity.find('contoso', 'a'), elsewhere, 'swedencentral')
    expect(kept.get(key ?? '')).toBe('eastus2')
    affinity.answered(await affinity.find('contoso', 'a'), route, 'swedencentral')
    expect(kept.get(key ?? '')).toBe('swedencentral')
  })
})

describe('the home of a conversation', () => {
  it('is one region, and another only when that one goes', () => {
    const regions = ['a', 'b', 'c', 'd']
    const homes = Array.from({ length: 400 }, (_, n) => homeOf(`s${n}`, 't', regions))
    for (const region of regions) {
      const share = homes.filter(([home]) => home === region).length
      expect(share).toBeGreaterThan(50)
    }
    for (const [n, order] of homes.entries()) {
      const without = homeOf(`s${n}`, 't', ['a', 'b', 'c'])
      expect(without).toEqual(order.filter((region) => region !== 'd'))
    }
    expect(homeOf('s1', 't', regions)).toEqual(homeOf('s1', 't', regions.toReversed()))
  })
})
