import type { CallEnd, Grant } from '@sluice/admission'
import { createMetrics } from '@sluice/telemetry'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { admissionWorker, type TestWorker } from './admission-fixture.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

let redis: PrivateRedis
let now: number
const closing: (() => void)[] = []
beforeAll(async () => {
  redis = await startPrivateRedis()
})
beforeEach(async () => {
  await redis.client.flushall()
  now = 1_700_000_000_000
  await redis.client.set('{sluice:admission}:epoch', now - 100_000)
})
afterEach(() => {
  for (const close of closing.splice(0)) close()
})
afterAll(() => redis.close())

const quota = { name: 'a', tokensPerMinute: 6_000_000, requestsPerMinute: 6_000, maxConcurrency: 40 }
const spare = { ...quota, name: 'b' }

// One connection for all, so that what a worker sent before another asks is there before it.
function worker(options: Parameters<typeof admissionWorker>[1] = {}): TestWorker {
  const made = admissionWorker(redis, { redis: redis.client, time: () => now, ...options })
  closing.push(() => made.close())
  return made
}

const ask = { candidates: [quota], tokens: 10 }
const stateOf = async (admission: TestWorker, which = quota) => {
  const [state] = await admission.states([which])
  if (state === undefined) throw new Error('no state')
  return state
}

/** One call after another, a second apart. */
async function calls(admission: TestWorker, outcomes: CallEnd['outcome'][], apartMs = 1_000): Promise<void> {
  for (const outcome of outcomes) {
    now += apartMs
    const grant = await admission.granted(ask)
    grant.end({ outcome, ms: 100 })
  }
}

const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value)

describe('the breaker', () => {
  it('walks from closed over open, half open and recovering back, for every worker, and says each move once', async () => {
    const metrics = createMetrics('test')
    const [one, two] = [worker({ metrics }), worker()]
    await calls(one, times(4, 'model_unavailable'))
    await calls(two, ['model_unavailable'])
    expect(await stateOf(one)).toMatchObject({ breaker: 'open', breakerSinceMs: now })
    expect(await one.reserve(ask)).toEqual({ kind: 'later', afterMs: 5_000, reason: 'breaker' })
    expect(await two.reserve({ ...ask, candidates: [quota, spare] })).toMatchObject({ deployment: 'b' })

    // Half open: a probe, and half a second later the next one.
    now += 5_000
    const probe = await one.granted(ask)
    expect(await two.reserve(ask)).toEqual({ kind: 'later', afterMs: 500, reason: 'breaker' })
    expect((await stateOf(two)).breaker).toBe('half_open')
    probe.end({ outcome: 'ok', ms: 100 })
    await calls(two, ['ok', 'ok'], 500)
    expect((await stateOf(one)).breaker).toBe('recovering')

    // A tenth of the calls of a second and of the slots, then two tenths and so on.
    const grants: Grant[] = []
    const fill = async () => {
      for (;;) {
        const answer = await one.reserve(ask)
        if (answer.kind !== 'granted') return answer
        grants.push(answer)
      }
    }
    const since = now
    expect(await fill()).toMatchObject({ kind: 'later', reason: 'concurrency' })
    expect(grants.length).toBe(4)
    for (const grant of grants.splice(0)) grant.end({ outcome: 'ok', ms: 100 })
    now = since + 15_000
    await fill()
    expect(grants.length).toBe(24)
    for (const grant of grants.splice(0)) grant.end({ outcome: 'ok', ms: 100 })
    now = since + 30_000
    expect((await stateOf(two)).breaker).toBe('closed')
    const moves = [...one.log, ...two.log].filter((line) => line.startsWith('breaker moved'))
    const to = moves.map((line) => /"to":"(\w+)"/.exec(line)?.[1] ?? '')
    expect(new Set(to)).toEqual(new Set(['open', 'half_open', 'recovering', 'closed']))
    expect(to.length).toBe(4)
  })

  it('opens when half of many calls fail, though never several in a row', async () => {
    const admission = worker()
    await calls(admission, times(9, ['ok', 'model_timeout'] as const).flat())
    expect((await stateOf(admission)).breaker).toBe('closed')
    await calls(admission, ['ok', 'model_timeout'])
    expect((await stateOf(admission)).breaker).toBe('open')
  })

  it('stays longer open with each failed probe, a minute at most', async () => {
    const admission = worker()
    await calls(admission, times(5, 'model_unauthorized'))
    for (const openMs of [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]) {
      expect(await admission.reserve(ask)).toEqual({ kind: 'later', afterMs: openMs, reason: 'breaker' })
      await calls(admission, ['model_unavailable'], openMs)
    }
  })

  it('falls back while it recovers, and counts nothing that began before', async () => {
    const admission = worker()
    now += 1
    const old = await Promise.all(times(3, ask).map((one) => admission.granted(one)))
    await calls(admission, times(5, 'model_unavailable'))
    now += 5_000
    await calls(admission, times(3, 'ok'), 500)
    expect((await stateOf(admission)).breaker).toBe('recovering')
    for (const grant of old) grant.end({ outcome: 'model_timeout', ms: 20_000 })
    expect((await stateOf(admission)).breaker).toBe('recovering')
    await calls(admission, ['model_unavailable', 'model_unavailable'])
    expect((await stateOf(admission)).breaker).toBe('open')
  })

  it('does not mind refusals, requests at fault and callers who left', async () => {
    const admission = worker()
    const harmless = ['model_rejected', 'aborted', 'content_policy', 'deadline_exceeded'] as const
    await calls(admission, [...harmless, ...harmless, ...harmless])
    for (let count = 0; count < 6; count++) {
      now += 2_000
      ;(await admission.granted(ask)).end({ outcome: 'model_rate_limited', ms: 5, retryAfterMs: 10 })
    }
    expect((await stateOf(admission)).breaker).toBe('closed')
  })

  it('has its state in the metrics, and each move counted', async () => {
    const metrics = createMetrics('test')
    const admission = worker({ metrics })
    await calls(admission, times(5, 'model_unavailable'))
    await admission.reserve(ask)
    const text = async () => (await metrics.render()).text
    const deadline = Date.now() + 20_000
    while (!(await text()).includes('state="open",service="test"} 1') && Date.now() < deadline) {
      await admission.reserve(ask)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    expect(await text()).toContain('sluice_admission_breaker_state{deployment="a",state="open",service="test"} 1')
    expect(await text()).toContain(
      'sluice_admission_breaker_transitions_total{deployment="a",to="open",service="test"} 1',
    )
    expect(await text()).toMatch(/sluice_admission_refusals_total\{reason="breaker",service="test"\} \d/)
    expect(await text()).toContain('sluice_admission_slots_in_use{deployment="a",service="test"} 0')
  })
})

describe('the limit of calls in flight', () => {
  /** As many as there is room for, `count` at most. */
  const inFlight = async (admission: TestWorker, count: number): Promise<Grant[]> => {
    const answers = await Promise.all(times(count, ask).map((one) => admission.reserve(one)))
    return answers.filter((answer) => answer.kind === 'granted')
  }
  const limit = async (admission: TestWorker) => (await stateOf(admission)).concurrencyLimit

  it('falls once for all refusals of a round, to a part of what was in flight', async () => {
    const admission = worker()
    const grants = await inFlight(admission, 20)
    now += 100
    for (const grant of grants) grant.end({ outcome: 'model_rate_limited', ms: 100, retryAfterMs: 10 })
    expect(await limit(admission)).toBe(14)
  })

  it('rises by one for each round of successes while it binds, and not while it does not', async () => {
    const [admission, second] = [worker(), worker()]
    const grants = await inFlight(admission, 20)
    now += 100
    for (const grant of grants) grant.end({ outcome: 'model_rate_limited', ms: 100, retryAfterMs: 10 })
    const rounds = async (count: number, calls: number) => {
      for (let round = 0; round < count; round++) {
        now += 2_000
        for (const grant of await inFlight(second, calls)) grant.end({ outcome: 'ok', ms: 100 })
      }
    }
    await rounds(3, 3)
    expect(await limit(admission)).toBe(14)
    await rounds(8, 14)
    const risen = (await limit(second)) ?? 0
    expect(risen).toBeGreaterThan(14)
    expect(risen).toBeLessThanOrEqual(22)
  })

  it('falls when calls take far longer than usual for their work, but not to nothing', async () => {
    const admission = worker()
    const usage = (output: number) => ({
      input_tokens: 500,
      cached_tokens: 0,
      output_tokens: output,
      reasoning_tokens: 0,
    })
    const round = async (msPerToken: number) => {
      now += 2_000
      for (const [index, grant] of (await inFlight(admission, 30)).entries()) {
        now += 1
        const output = 10 + index * 20
        grant.end({ outcome: 'ok', ms: msPerToken * (30 + output), usage: usage(output) })
      }
    }
    for (let count = 0; count < 4; count++) await round(5)
    // Longer answers alone are no sign of anything.
    expect(await limit(admission)).toBe(40)
    for (let count = 0; count < 3; count++) await round(25)
    const low = (await limit(admission)) ?? 0
    expect(low).toBeLessThan(35)
    expect(low).toBeGreaterThanOrEqual(5)
  })

  it('is told by the time to the first byte where there is one', async () => {
    const admission = worker()
    const round = async (firstByteMs: number) => {
      now += 2_000
      for (const grant of await inFlight(admission, 30)) {
        now += 1
        grant.end({ outcome: 'ok', ms: 100_000 * Math.random(), firstByteMs })
      }
    }
    for (let count = 0; count < 4; count++) await round(200)
    expect(await limit(admission)).toBe(40)
    for (let count = 0; count < 3; count++) await round(2_000)
    expect(await limit(admission)).toBeLessThan(35)
  })
})

describe('drain', () => {
  it('keeps every worker away at once, lets what runs end, and is taken back', async () => {
    const [one, two] = [worker(), worker()]
    const running = await two.granted(ask)
    await one.drain('a', { reason: 'Preempt: machine 7' })
    expect(await two.reserve(ask)).toEqual({ kind: 'later', afterMs: 5_000, reason: 'drained' })
    expect(await two.reserve({ ...ask, candidates: [quota, spare] })).toMatchObject({ deployment: 'b' })
    running.end({ outcome: 'ok', ms: 5 })
    expect((await stateOf(two)).drained).toEqual({ reason: 'Preempt: machine 7', untilMs: undefined })
    expect(await two.undrain('a')).toBe(true)
    expect(await one.undrain('a')).toBe(false)
    expect((await one.granted(ask)).deployment).toBe('a')
  })

  it('ends by itself when it says until when', async () => {
    const admission = worker()
    await admission.drain('a', { reason: 'maintenance', untilMs: now + 60_000 })
    expect(await admission.reserve(ask)).toEqual({ kind: 'later', afterMs: 60_000, reason: 'drained' })
    now += 60_000
    expect((await admission.granted(ask)).deployment).toBe('a')
    expect((await stateOf(admission)).drained).toBeUndefined()
  })
})
