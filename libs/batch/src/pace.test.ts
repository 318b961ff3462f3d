import { ManualClock } from '@sluice/resilience'
import { expect, test } from 'vitest'
import { Pace } from './pace.ts'

test('a burst goes at once, the rest at the rate', async () => {
  const clock = new ManualClock()
  const pace = new Pace(clock, 10, 5)
  let done = 0
  const work = (async () => {
    for (; done < 30; done++) await pace.next(new AbortController().signal)
  })()
  await clock.advance(0)
  expect(done).toBe(6)
  await clock.advance(1_000)
  expect(done).toBe(16)
  await clock.advance(2_000)
  await work
  expect([done, clock.pending]).toEqual([30, 0])
})

test('an abort ends the wait', async () => {
  const clock = new ManualClock()
  const pace = new Pace(clock, 1, 0)
  const stop = new AbortController()
  await pace.next(stop.signal)
  const waiting = pace.next(stop.signal)
  stop.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
  expect(clock.pending).toBe(0)
})
