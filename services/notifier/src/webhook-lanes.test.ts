import { ManualClock } from '@sluice/resilience'
import { expect, test } from 'vitest'
import { type Permit, WebhookLanes } from './webhook-lanes.ts'

const slowAfterMs = 1_000
const lanesOf = (fast: number, slow: number) => {
  const clock = new ManualClock()
  return { clock, lanes: new WebhookLanes({ fast, slow, slowAfterMs, clock }) }
}
const permitted = (answer: Permit | { laterMs: number }): Permit => {
  if ('laterMs' in answer) throw new Error(`sent away for ${answer.laterMs} ms`)
  return answer
}
/** Lets a lane earn: each quick answer doubles what it may have in flight. */
const warm = async (lanes: WebhookLanes, key: string, times = 4) => {
  for (let n = 0; n < times; n++) permitted(await lanes.enter(key, 16, 0)).leave()
}

test('receivers that hang give their fast slots back, whatever their number', async () => {
  const { clock, lanes } = lanesOf(2, 100)
  for (let n = 0; n < 50; n += 2) {
    for (const key of [`hangs-${n}`, `hangs-${n + 1}`]) permitted(await lanes.enter(key, 16, 0))
    expect(lanes.inFlight.fast).toBe(2)
    await clock.advance(slowAfterMs)
    expect(lanes.inFlight).toEqual({ fast: 0, slow: n + 2 })
  }
  permitted(await lanes.enter('works', 16, 0)).leave()
})

test('a new receiver is called once at a time until it has answered', async () => {
  const { clock, lanes } = lanesOf(10, 10)
  const first = permitted(await lanes.enter('a', 16, 0))
  const second = lanes.enter('a', 16, 100)
  await clock.advance(50)
  first.leave()
  const third = lanes.enter('a', 16, 0)
  expect(permitted(await second)).toBeDefined()
  expect(permitted(await third)).toBeDefined()
  expect(lanes.inFlight.fast).toBe(2)
})

test('whoever waits in vain is sent away, one place in line after the other', async () => {
  const { clock, lanes } = lanesOf(10, 10)
  permitted(await lanes.enter('a', 1, 0))
  const waiting = [lanes.enter('a', 1, 100), lanes.enter('a', 1, 100)]
  await clock.advance(100)
  for (const one of waiting) expect(await one).toEqual({ laterMs: expect.any(Number) as number })
  expect(clock.pending).toBe(1)
})

test('the line of a slow receiver is as long as its calls take, and bounded', async () => {
  const { clock, lanes } = lanesOf(10, 10)
  const call = permitted(await lanes.enter('a', 1, 0))
  await clock.advance(10_000)
  call.leave()
  const places = Array.from({ length: 10 }, () => lanes.book('a', 1))
  expect(places[0]).toBeGreaterThanOrEqual(10_000)
  expect(places[1]).toBeGreaterThanOrEqual(20_000)
  expect(Math.max(...places)).toBeLessThanOrEqual(66_000)
})

test('a slow receiver keeps to half of the slow pool, and comes back when it is quick again', async () => {
  const { clock, lanes } = lanesOf(10, 4)
  await warm(lanes, 'a')
  const calls = await Promise.all(Array.from({ length: 3 }, async () => permitted(await lanes.enter('a', 16, 0))))
  await clock.advance(slowAfterMs)
  expect(lanes.inFlight).toEqual({ fast: 0, slow: 3 })
  expect(await lanes.enter('a', 16, 0)).toHaveProperty('laterMs')
  for (const call of calls) call.leave()
  permitted(await lanes.enter('a', 16, 0)).leave()
  permitted(await lanes.enter('a', 16, 0))
  expect(lanes.inFlight).toEqual({ fast: 1, slow: 0 })
})

test('with the slow pool full, a call keeps its fast slot: the bound on calls holds', async () => {
  const { clock, lanes } = lanesOf(3, 2)
  for (const key of ['a', 'b', 'c']) permitted(await lanes.enter(key, 1, 0))
  await clock.advance(slowAfterMs)
  expect(lanes.inFlight).toEqual({ fast: 1, slow: 2 })
})

test('leaving twice gives back once', async () => {
  const { lanes } = lanesOf(1, 1)
  const call = permitted(await lanes.enter('a', 1, 0))
  call.leave()
  call.leave()
  expect(lanes.inFlight).toEqual({ fast: 0, slow: 0 })
})

test('a receiver that was slow once does not wait for those that hang', async () => {
  const { clock, lanes } = lanesOf(4, 10)
  for (let n = 0; n < 6; n++) {
    permitted(await lanes.enter(`hangs-${n}`, 1, 0))
    await clock.advance(slowAfterMs)
  }
  const slow = permitted(await lanes.enter('a', 16, 0))
  await clock.advance(slowAfterMs)
  slow.leave()
  permitted(await lanes.enter('a', 16, 0)).leave()
  // One that hangs right now is not called a second time.
  expect(await lanes.enter('hangs-0', 1, 0)).toHaveProperty('laterMs')
})
