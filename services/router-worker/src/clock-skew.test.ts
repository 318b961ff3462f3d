import { ManualClock } from '@sluice/resilience'
import { createLogger } from '@sluice/telemetry'
import { expect, test } from 'vitest'
import { watchClockSkew } from './clock-skew.ts'

const logger = createLogger({ service: 'test', level: 'silent' })

test('a clock that is off from Redis is not trusted until it agrees again', async () => {
  const clock = new ManualClock()
  let offMs = 0
  const redis = {
    time: async () => {
      const shared = clock.now() + offMs
      return [Math.floor(shared / 1000), (shared % 1000) * 1000]
    },
  }
  const skew = watchClockSkew({ redis, clock, logger, intervalMs: 1000 })
  await skew.look()
  expect(skew.trusted()).toBe(true)
  offMs = -60_000
  await clock.advance(1000)
  expect(skew.trusted()).toBe(false)
  offMs = 500
  await clock.advance(1000)
  expect(skew.trusted()).toBe(true)
  skew.stop()
})

test('while Redis is away the last finding stands', async () => {
  const clock = new ManualClock()
  const redis = { time: () => Promise.reject(new Error('away')) }
  const skew = watchClockSkew({ redis, clock, logger })
  await skew.look()
  expect(skew.trusted()).toBe(true)
  skew.stop()
})
