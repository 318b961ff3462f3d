import { ManualClock, sleep } from '@sluice/resilience'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Caller } from '../../services/ingest/src/authenticate.ts'
import { createSubmitLimits } from '../../services/ingest/src/submit-limits.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

let redis: PrivateRedis
beforeAll(async () => {
  redis = await startPrivateRedis()
})
afterAll(() => redis.close())
beforeEach(() => redis.client.flushall())

const caller = (limits: Caller['limits'] = {}, principal = 'key-1'): Caller => ({
  ...{ tenant: 'contoso', scopes: ['submit'], platform: false, principal, limits },
})
const limitsOf = (perMinute: number | undefined, clock = new ManualClock()) => {
  const limits = perMinute === undefined ? {} : { requests_per_minute: perMinute }
  const config = { tenants: { contoso: { limits } } } as never
  return createSubmitLimits({ config, redis: redis.client, clock })
}

describe('the requests of a minute', () => {
  test('may be used at once; then one comes back with each part of the minute, and the wait is exact', async () => {
    const limits = limitsOf(600)
    const taken = await Promise.all(Array.from({ length: 600 }, () => limits.take(caller())))
    const granted = taken.filter((left) => left?.waitMs === 0)
    // While they were counted some have come back already.
    expect(granted.length).toBeGreaterThanOrEqual(590)
    let refused = await limits.take(caller())
    while (refused?.waitMs === 0) refused = await limits.take(caller())
    expect(refused?.waitMs).toBeGreaterThan(0)
    expect(refused?.waitMs).toBeLessThanOrEqual(100)
    // Timers may be a moment early.
    await sleep(Math.ceil(refused?.waitMs ?? 0) + 2)
    expect((await limits.take(caller()))?.waitMs).toBe(0)
  })

  test('of tenant and key are both taken or none', async () => {
    const limits = limitsOf(5)
    const narrow = caller({ requests_per_minute: 1 })
    expect(await limits.take(narrow)).toMatchObject({ waitMs: 0, limit: 1, remaining: 0 })
    expect((await limits.take(narrow))?.waitMs).toBeGreaterThan(50_000)
    expect(await limits.take(caller({}, 'key-2'))).toMatchObject({ waitMs: 0, limit: 5, remaining: 3 })
    expect(await limits.look(caller({}, 'key-2'))).toMatchObject({ remaining: 3 })
  })

  test('without a limit nothing is counted', async () => {
    expect(await limitsOf(undefined).take(caller())).toBeUndefined()
    expect(await redis.client.dbsize()).toBe(0)
  })

  test('are counted by each instance alone while Redis is away', async () => {
    const clock = new ManualClock()
    const limits = limitsOf(2, clock)
    await redis.kill()
    try {
      expect((await limits.take(caller()))?.remaining).toBe(1)
      expect((await limits.take(caller()))?.remaining).toBe(0)
      expect((await limits.take(caller()))?.waitMs).toBeCloseTo(30_000)
      await clock.advance(30_000)
      expect((await limits.take(caller()))?.waitMs).toBe(0)
    } finally {
      await redis.restart()
    }
  })
})
