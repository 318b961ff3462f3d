import type { AppError } from '@sluice/errors'
import { ManualClock } from '@sluice/resilience'
import { ServiceBusError } from '@azure/service-bus'
import { expect, test } from 'vitest'
import { LockDuration } from './lock-duration.ts'
import { LockRenewer } from './lock-renewer.ts'

/** A lock of `remainingMs`, renewed by `answers` in turn and then for ever. */
function openLock(remainingMs: number, ...answers: (Error | 'never' | number)[]) {
  const clock = new ManualClock()
  const renewer = new LockRenewer(clock)
  const renewedAt: number[] = []
  const lost: AppError[] = []
  const release = renewer.keep({
    remainingMs,
    renew: async () => {
      renewedAt.push(clock.monotonic())
      const answer = answers.shift() ?? remainingMs
      if (answer === 'never') return new Promise<number>(() => {})
      if (answer instanceof Error) throw answer
      return answer
    },
    lost: (error) => lost.push(error),
  })
  return { clock, renewer, renewedAt, lost, release }
}

const transient = () => Object.assign(new ServiceBusError('no answer', 'ServiceTimeout'), { retryable: true })

test('a lock is renewed at half of what remains of it, again and again', async () => {
  const { clock, renewedAt, lost, release } = openLock(30_000)
  await clock.advance(50_000)
  expect(renewedAt).toHaveLength(3)
  for (const [index, atMs] of renewedAt.entries()) expect(Math.abs(atMs - 15_000 * (index + 1))).toBeLessThan(500)
  release()
  await clock.advance(60_000)
  expect([renewedAt.length, lost.length, clock.pending]).toEqual([3, 0, 0])
})

test('a renewal that is answered with lock lost loses it at once, once', async () => {
  const { clock, lost, release } = openLock(10_000, new ServiceBusError('gone', 'MessageLockLost'))
  await clock.advance(60_000)
  release()
  expect(lost).toMatchObject([{ code: 'lock_lost' }])
  expect(clock.pending).toBe(0)
})

test('a renewal that fails otherwise is tried again, and its success is as good as any', async () => {
  const { clock, renewedAt, lost } = openLock(10_000, transient(), new Error('socket'), transient())
  await clock.advance(9000)
  expect(renewedAt.length).toBeGreaterThanOrEqual(4)
  await clock.advance(60_000)
  expect(lost).toEqual([])
})

test.each([
  ['fail', Array.from({ length: 50 }, transient)],
  ['get no answer', Array.from({ length: 50 }, () => 'never' as const)],
])('when all renewals %s, the lock is lost as it ends, not later', async (_, answers) => {
  const { clock, lost } = openLock(10_000, ...answers)
  await clock.advance(9800)
  expect(lost).toEqual([])
  await clock.advance(500)
  expect(lost).toMatchObject([{ code: 'lock_lost' }])
  expect(clock.pending).toBe(0)
})

test('a release while a renewal is under way has the last word', async () => {
  const { clock, lost, release } = openLock(10_000, 'never')
  await clock.advance(6000)
  release()
  await clock.advance(60_000)
  expect([lost, clock.pending]).toEqual([[], 0])
})

test('a stopped renewer renews nothing', async () => {
  const { clock, renewer, renewedAt } = openLock(10_000)
  renewer.stop()
  await clock.advance(60_000)
  expect([renewedAt, clock.pending]).toEqual([[], 0])
})

test('ten thousand locks cost one timer', async () => {
  const { clock, renewer, release } = openLock(30_000)
  const kept = Array.from({ length: 10_000 }, (_, index) => {
    return renewer.keep({ remainingMs: 1000 + index, renew: async () => 30_000, lost: () => {} })
  })
  expect(clock.pending).toBe(1)
  for (const done of [...kept, release]) done()
  await clock.advance(200)
  expect(clock.pending).toBe(0)
})

test('what remains of a lock is not overestimated by a clock that is slow', () => {
  const duration = new LockDuration()
  const enqueued = new Date(1_000_000)
  const lockedUntil = new Date(1_030_000)
  // This machine's clock is a minute behind the broker's.
  expect(duration.remainingMs(lockedUntil, 940_000, enqueued)).toBe(30_000)
  // A message that waited in the queue for an hour says nothing about the duration, but the bound has been learnt.
  expect(duration.remainingMs(lockedUntil, 940_000, new Date(1_000_000 - 3_600_000))).toBe(30_000)
})

test('what remains of a lock is at least a second, so that a clock that is fast gives up nothing unasked', () => {
  const duration = new LockDuration()
  expect(duration.remainingMs(new Date(1_030_000), 2_000_000)).toBe(1000)
  expect(duration.remainingMs(undefined, 0)).toBe(1000)
  expect(duration.remainingMs(new Date(8.64e15), 0)).toBe(300_000)
})
