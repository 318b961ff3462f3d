import { ManualClock } from '@sluice/resilience'
import { expect, it } from 'vitest'
import { Ahead, type Lot } from './ahead.ts'
import type { Ask } from './script-batches.ts'

const quota = { name: 'a', tokensPerMinute: 50_000_000, requestsPerMinute: 6_000_000 }
const shareOf = (name: string) => [{ name, requestsPerMinute: 1_000_000 }]

function setUp(reserveMs = 0) {
  const clock = new ManualClock()
  const asked: Ask[] = []
  const settled: Lot[] = []
  const ahead = new Ahead({
    clock,
    newId: () => `lot-${asked.length}`,
    async reserve(ask) {
      asked.push(ask)
      if (reserveMs > 0) await new Promise<void>((answered) => clock.setTimeout(answered, reserveMs))
      const room = { quota, atMs: 0, usedTokens: 0, unseenTokens: 0, slotsInUse: 0, tenantLeft: {} }
      return { kind: 'room', ...room }
    },
    settle: (lot) => void settled.push(lot),
    onFailure: (error) => {
      throw error
    },
  })
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  /** Calls a millisecond apart. @returns how many of them found room */
  const calls = async (count: number, name = 'contoso') => {
    let found = 0
    for (let n = 0; n < count; n++) {
      await clock.advance(1)
      if (ahead.take(quota, shareOf(name), 10) !== undefined) found++
      await turn()
    }
    return found
  }
  return { ahead, asked, settled, clock, calls }
}

it('leaves a Redis alone for a while that answers when nothing can be used any more', async () => {
  const { asked, settled, calls } = setUp(30)
  expect(await calls(200)).toBe(0)
  expect(asked.length).toBeLessThan(6)
  expect(settled.map(({ usedCalls }) => usedCalls)).toEqual(asked.map(() => 0))
})

it('follows so many callers at once and no more, and others when those have ceased to call', async () => {
  const { ahead, clock, asked, calls } = setUp()
  for (let n = 0; n < 5_000; n++) ahead.take(quota, shareOf(`t${n}`), 10)
  expect(await calls(100, 'late')).toBe(0)
  expect(asked).toEqual([])
  await clock.advance(2_000)
  expect(await calls(100, 'late')).toBeGreaterThan(40)
})

it('most of a burst after a pause finds room, and twice of what has come is the most that is reserved for it', async () => {
  const { ahead, clock, asked, settled } = setUp()
  const found: number[] = []
  for (let burst = 0; burst < 3; burst++) {
    await clock.advance(600)
    let some = 0
    for (let n = 0; n < 32; n++) {
      if (ahead.take(quota, shareOf('contoso'), 10) !== undefined) some++
      await new Promise((resolve) => setImmediate(resolve))
    }
    found.push(some)
  }
  expect(found).toEqual([28, 28, 28])
  await clock.advance(600)
  const reserved = asked.reduce((sum, { calls = 0 }) => sum + calls, 0)
  const used = settled.reduce((sum, { usedCalls }) => sum + usedCalls, 0)
  expect(used).toBe(3 * 28)
  expect(reserved).toBeLessThanOrEqual(3 * 64)
})

it('however large the calls of a burst, a fiftieth of a minute’s tokens is the most that lies reserved', async () => {
  const { ahead, asked, settled } = setUp()
  const large = { ...quota, tokensPerMinute: 1_000_000 }
  let found = 0
  let most = 0
  for (let n = 0; n < 60; n++) {
    if (ahead.take(large, shareOf('contoso'), 5_000) !== undefined) found++
    await new Promise((resolve) => setImmediate(resolve))
    const reserved = asked.reduce((sum, { tokens }) => sum + tokens, 0)
    most = Math.max(most, reserved - 5_000 * found)
  }
  expect(settled).toEqual([])
  expect(found).toBeGreaterThan(40)
  expect(most).toBeLessThanOrEqual(large.tokensPerMinute / 50)
})
