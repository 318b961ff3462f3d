import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import { ManualClock, sleep } from './index.ts'

test('an abort ends the sleep with its reason and takes the timer with it', async () => {
  const clock = new ManualClock()
  const controller = new AbortController()
  const slept = sleep(1000, { clock, signal: controller.signal })
  controller.abort(new Error('stop'))
  await expect(slept).rejects.toThrow('stop')
  expect(clock.pending).toBe(0)
})

test('an aborted signal refuses to sleep at all', async () => {
  const clock = new ManualClock()
  await expect(sleep(1000, { clock, signal: AbortSignal.abort(new Error('gone')) })).rejects.toThrow('gone')
  expect(clock.pending).toBe(0)
})

test('sleeping again and again on one signal leaves no listeners behind', async () => {
  const clock = new ManualClock()
  const { signal } = new AbortController()
  for (let i = 0; i < 3; i++) {
    const slept = sleep(10, { clock, signal })
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    await clock.advance(10)
    await slept
  }
  expect(getEventListeners(signal, 'abort')).toHaveLength(0)
})
