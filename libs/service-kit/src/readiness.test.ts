import { AppError } from '@sluice/errors'
import { ManualClock } from '@sluice/resilience'
import { expect, test } from 'vitest'
import { createReadiness } from './readiness.ts'

test('a check that hangs is failed after a second, without delaying the others', async () => {
  const clock = new ManualClock()
  const ready = createReadiness(() => ({ good: async () => {}, hanging: () => new Promise(() => {}) }), clock)
  const results = ready()
  await clock.advance(1000)
  expect(await results).toEqual({
    good: { ok: true, ms: 0 },
    hanging: { ok: false, ms: 1000, error: 'TimeoutError' },
  })
  expect(clock.pending).toBe(0)
})

test("a failure shows the error's code and never its message", async () => {
  const checks = {
    app: () => Promise.reject(new AppError('storage_unavailable', 'AccountKey=hunter2')),
    other: () => Promise.reject(new TypeError('hunter2')),
  }
  const results = await createReadiness(() => checks, new ManualClock())()
  expect(results.app?.error).toBe('storage_unavailable')
  expect(results.other?.error).toBe('TypeError')
})

test('results are remembered for a second, also while they are being gathered', async () => {
  const clock = new ManualClock()
  let ran = 0
  const ready = createReadiness(() => ({ counted: async () => void ran++ }), clock)
  await Promise.all([ready(), ready(), ready()])
  await clock.advance(999)
  await ready()
  expect(ran).toBe(1)
  await clock.advance(1)
  await ready()
  expect(ran).toBe(2)
})
