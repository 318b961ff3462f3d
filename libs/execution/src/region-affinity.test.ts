import { ManualClock } from '@sluice/resilience'
import { describe, expect, it } from 'vitest'
import { createRegionAffinity } from './region-affinity.ts'

describe('region affinity', () => {
  it('does not wait for a Redis that is slow, nor fail with one that is away', async () => {
    const clock = new ManualClock()
    const silent = { getex: () => new Promise<string | null>(() => undefined), set: async () => 'OK' }
    const asked = createRegionAffinity({ redis: silent, clock }).regionOf('contoso', 'conv-1')
    await clock.advance(100)
    expect(await asked).toBeUndefined()

    const away = { getex: () => Promise.reject(new Error('away')), set: () => Promise.reject(new Error('away')) }
    const affinity = createRegionAffinity({ redis: away, clock })
    expect(await affinity.regionOf('contoso', 'conv-1')).toBeUndefined()
    // A rejection that nobody handled would end the test run.
    affinity.remember('contoso', 'conv-1', 'eastus2')
  })

  it('keeps tenants apart', async () => {
    const kept = new Map<string, string>()
    const redis = {
      getex: async (key: string) => kept.get(key) ?? null,
      set: async (key: string, value: string) => kept.set(key, value),
    }
    const affinity = createRegionAffinity({ redis, clock: new ManualClock() })
    affinity.remember('contoso', 'a', 'eastus2')
    expect(await affinity.regionOf('contoso', 'a')).toBe('eastus2')
    expect(await affinity.regionOf('fabrikam', 'a')).toBeUndefined()
  })
})
