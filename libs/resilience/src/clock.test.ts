import { expect, test } from 'vitest'
import { ManualClock, sleep, systemClock } from './index.ts'

test('due timers run in order of their due time, then of their creation', async () => {
  const clock = new ManualClock()
  const ran: string[] = []
  clock.setTimeout(() => ran.push('late'), 30)
  clock.setTimeout(() => ran.push('first'), 10)
  clock.setTimeout(() => ran.push('second'), 10)
  clock.setTimeout(() => ran.push('never'), 31)
  await clock.advance(30)
  expect(ran).toEqual(['first', 'second', 'late'])
  expect(clock.pending).toBe(1)
})

test('a timer that re-arms itself behind a promise fires as often as in real time', async () => {
  const clock = new ManualClock()
  const firedAt: number[] = []
  const loop = async () => {
    for (;;) {
      await sleep(10, { clock })
      firedAt.push(clock.monotonic())
      if (firedAt.length === 5) return
    }
  }
  const done = loop()
  await clock.advance(50)
  await done
  expect(firedAt).toEqual([10, 20, 30, 40, 50])
})

test('a correction of the wall time moves neither timers nor the monotonic clock', async () => {
  const clock = new ManualClock(1_000_000)
  let ran = false
  clock.setTimeout(() => (ran = true), 100)
  clock.jumpWallTime(60_000)
  await clock.advance(99)
  expect([ran, clock.now(), clock.monotonic()]).toEqual([false, 1_060_099, 99])
})

test('a cancelled timer does not run', async () => {
  const clock = new ManualClock()
  let ran = false
  const timer = clock.setTimeout(() => (ran = true), 5)
  timer.cancel()
  await clock.advance(10)
  timer.cancel()
  expect(ran).toBe(false)
})

test('the system clock does not fire early on a delay beyond what Node can count', async () => {
  let ran = false
  const timer = systemClock.setTimeout(() => (ran = true), 2 ** 40)
  const before = systemClock.monotonic()
  await sleep(5)
  timer.cancel()
  expect(ran).toBe(false)
  expect(systemClock.monotonic()).toBeGreaterThan(before)
  expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1000)
})
