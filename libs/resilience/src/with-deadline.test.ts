import { expect, test } from 'vitest'
import { ManualClock, withDeadline } from './index.ts'

const late = () => new Error('late')
const never = () => new Promise<never>(() => {})

test('the answer comes through and no timer stays behind', async () => {
  const clock = new ManualClock()
  await expect(withDeadline(100, undefined, () => Promise.resolve(42), late, clock)).resolves.toBe(42)
  expect(clock.pending).toBe(0)
})

test('the deadline settles the promise even when the work ignores its signal', async () => {
  const clock = new ManualClock()
  let seen: AbortSignal | undefined
  const result = withDeadline(100, undefined, (signal) => ((seen = signal), never()), late, clock)
  const outcome = expect(result).rejects.toThrow('late')
  await clock.advance(100)
  await outcome
  expect(seen?.aborted).toBe(true)
  expect(seen?.reason).toEqual(late())
})

test('an outer abort wins over the deadline and passes its reason on', async () => {
  const clock = new ManualClock()
  const controller = new AbortController()
  const result = withDeadline(100, controller.signal, never, late, clock)
  controller.abort(new Error('shutdown'))
  await expect(result).rejects.toThrow('shutdown')
  expect(clock.pending).toBe(0)
})

test('an already aborted signal never starts the work', async () => {
  let started = false
  const work = () => ((started = true), Promise.resolve())
  await expect(withDeadline(100, AbortSignal.abort(new Error('gone')), work, late)).rejects.toThrow('gone')
  expect(started).toBe(false)
})

test('a failure that arrives after the deadline is not an unhandled rejection', async () => {
  const clock = new ManualClock()
  const unhandled: unknown[] = []
  const note = (reason: unknown) => unhandled.push(reason)
  process.on('unhandledRejection', note)
  const work = Promise.withResolvers<never>()
  const outcome = expect(withDeadline(10, undefined, () => work.promise, late, clock)).rejects.toThrow('late')
  await clock.advance(10)
  await outcome
  work.reject(new Error('too late to matter'))
  await clock.advance(1)
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})

test('a synchronous throw in the work is its failure, and the timer is cancelled', async () => {
  const clock = new ManualClock()
  const work = () => {
    throw new Error('broken')
  }
  await expect(withDeadline(100, undefined, work, late, clock)).rejects.toThrow('broken')
  expect(clock.pending).toBe(0)
})
