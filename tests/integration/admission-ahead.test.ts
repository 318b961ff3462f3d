import {
  type Admission,
  type AdmissionOptions,
  assumeIdle,
  createAdmission,
  type Grant,
  type TenantShare,
} from '@sluice/admission'
import { emptyUsage } from '@sluice/contracts'
import { ManualClock } from '@sluice/resilience'
import * as fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { until } from './admission-fixture.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

let redis: PrivateRedis
let clock: ManualClock
const closing: (() => void)[] = []
beforeAll(async () => {
  redis = await startPrivateRedis()
})
beforeEach(() => fresh())
afterEach(close)
afterAll(() => redis.close())

function close(): void {
  for (const one of closing.splice(0)) one()
}

async function fresh(): Promise<void> {
  close()
  await redis.client.flushall()
  await assumeIdle(redis.client)
  clock = new ManualClock()
}

const wide = { name: 'a', tokensPerMinute: 50_000_000, requestsPerMinute: 6_000_000, maxConcurrency: 1_000 }
const tenant = { name: 'contoso', requestsPerMinute: 100_000, tokensPerMinute: 10_000_000, concurrency: 1_000 }
const usageOf = (output_tokens: number) => ({ ...emptyUsage, output_tokens })
const ended = { outcome: 'ok', ms: 10 } as const

/** A worker whose time the test moves, and how often it asked Redis for room. */
function worker(options: Partial<AdmissionOptions> = {}) {
  const connection = redis.connect()
  const asked = { times: 0 }
  const note = (keysAndArguments: readonly (string | number)[], keys: number) => {
    if (keysAndArguments[keys] === 'reserve') asked.times++
  }
  const admission = createAdmission({
    redis: {
      evalsha: (sha1, keys, ...rest) => {
        note(rest, keys)
        return connection.evalsha(sha1, keys, ...rest)
      },
      eval: (script, keys, ...rest) => {
        note(rest, keys)
        return connection.eval(script, keys, ...rest)
      },
    },
    clock,
    logger: { info: () => undefined, warn: () => undefined },
    deadlineMs: 10_000,
    ...options,
  })
  closing.push(() => admission.close())
  return { admission, asked }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

async function granted(
  admission: Admission,
  tokens: number,
  shares: TenantShare[] = [tenant],
  quota = wide,
): Promise<Grant> {
  const answer = await admission.reserve({ candidates: [quota], tenant: shares, tokens })
  if (answer.kind !== 'granted') throw new Error(`expected room, got ${JSON.stringify(answer)}`)
  return answer
}

/** Calls a millisecond apart, each over at once. @returns the last grant */
async function stream(admission: Admission, calls: number, tokens = 100): Promise<Grant> {
  let last: Grant | undefined
  for (let n = 0; n < calls; n++) {
    await clock.advance(1)
    last = await granted(admission, tokens)
    last.end(ended)
    await turn()
  }
  return last as Grant
}

const logLength = () => redis.client.llen('{sluice:admission}:log:a')
const stateOf = async (admission: Admission) => (await admission.states([wide]))[0]
/** Lots end, and what ended is told. */
async function settled(admission: Admission): Promise<void> {
  await clock.advance(100)
  await until(async () => {
    await clock.advance(5)
    return (await stateOf(admission))?.slotsInUse === 0
  }, 'no slot is held')
}

it('a steady stream finds its room ahead; what nobody used is given back whole', async () => {
  const { admission, asked } = worker()
  const last = await stream(admission, 200)
  expect(asked.times).toBeLessThan(100)
  // As it was when the lot was granted; what others of the caller have reserved counts as used.
  expect(last.tenantLeft.requests).toBeGreaterThanOrEqual(tenant.requestsPerMinute - 300)
  expect(last.tenantLeft.requests).toBeLessThan(tenant.requestsPerMinute - 150)
  await settled(admission)
  expect((await stateOf(admission))?.usedTokens).toBe(200 * 100)
  expect(await logLength()).toBe(200)
  // All that was reserved ahead for the caller is there again.
  const { tenantLeft } = await granted(worker().admission, 100)
  expect(tenantLeft).toMatchObject({ requests: 100_000 - 201, tokens: 10_000_000 - 201 * 100 })
})

it('room that waits for too long is not used', async () => {
  const { admission, asked } = worker()
  await stream(admission, 100)
  await clock.advance(1_000)
  const before = asked.times
  await granted(admission, 100)
  expect(asked.times).toBe(before + 1)
})

it('seldom calls, calls that can wait, and those of provisioned deployments reserve nothing ahead', async () => {
  const { admission, asked } = worker()
  for (let n = 0; n < 10; n++) {
    await clock.advance(20)
    await granted(admission, 100)
    await turn()
  }
  expect(asked.times).toBe(10)
  for (let n = 0; n < 60; n++) {
    await clock.advance(1)
    await admission.reserve({ candidates: [wide], tokens: 100, priority: 'standard' })
    await granted(admission, 100, [tenant], { ...wide, kind: 'ptu' } as typeof wide)
    await turn()
  }
  expect(asked.times).toBe(130)
})

it('where more than half of a limit is used nothing is reserved ahead, so that others find all of it', async () => {
  const narrow = { ...tenant, requestsPerMinute: 400 }
  const { admission: one } = worker()
  const { admission: two } = worker()
  let calls = 0
  for (; calls < 300; calls++) {
    await clock.advance(1)
    ;(await granted(one, 100, [narrow])).end(ended)
    await turn()
  }
  const held = narrow.requestsPerMinute - calls - ((await granted(two, 100, [narrow])).tenantLeft.requests ?? 0) - 1
  expect(held).toBe(0)
})

it('calls that may come later than their grant stay in the windows for longer', async () => {
  const simulated = { time: () => clock.now(), reservesAhead: true }
  await redis.client.set('{sluice:admission}:epoch', clock.now() - 100_000)
  const limited = { ...wide, requestsPerMinute: 12_000 }
  const firstAtMs = clock.now() + 1
  const { admission, asked } = worker(simulated)
  for (let n = 0; n < 40; n++) {
    await clock.advance(1)
    await granted(admission, 100, [], limited)
    await turn()
  }
  expect(asked.times).toBeLessThan(40)
  const others = worker({ ...simulated, reservesAhead: false }).admission
  let answer = await others.reserve({ candidates: [limited], tokens: 100 })
  while (answer.kind === 'granted') answer = await others.reserve({ candidates: [limited], tokens: 100 })
  expect(answer).toEqual({ kind: 'later', reason: 'deployment', afterMs: firstAtMs + 1_040 + 25 - clock.now() })
})

it('a deployment that refused or failed is asked for anew', async () => {
  for (const outcome of ['model_rate_limited', 'model_unavailable'] as const) {
    await fresh()
    const { admission, asked } = worker()
    await stream(admission, 100)
    const grant = await granted(admission, 100)
    const before = asked.times
    grant.end({ outcome, ms: 1, retryAfterMs: 5_000 })
    const next = await admission.reserve({ candidates: [wide], tenant: [tenant], tokens: 100 })
    expect(asked.times).toBe(before + 1)
    expect(next.kind).toBe(outcome === 'model_rate_limited' ? 'later' : 'granted')
  }
})

it('a caller or a deployment whose limits changed finds no room of before', async () => {
  const { admission, asked } = worker()
  await stream(admission, 100)
  const before = asked.times
  const lowered = { ...tenant, requestsPerMinute: 100 }
  const answer = await admission.reserve({ candidates: [wide], tenant: [lowered], tokens: 100 })
  expect(answer).toMatchObject({ kind: 'later', reason: 'tenant' })
  await granted(admission, 100, [tenant], { ...wide, tokensPerMinute: 1_000_000 })
  expect(asked.times).toBe(before + 2)
})

it('a cool-down that was told before its call ended is heeded at once', async () => {
  const { admission, asked } = worker()
  let [last, before] = [await stream(admission, 100), -1]
  // Its room was reserved ahead, and more.
  while (before !== asked.times) {
    before = asked.times
    last = await stream(admission, 1)
  }
  await admission.cooled(last, 5_000)
  const answer = await admission.reserve({ candidates: [wide], tenant: [tenant], tokens: 100 })
  expect(answer).toMatchObject({ kind: 'later', reason: 'deployment' })
})

it('whose own calls in flight are limited finds the slot of one that ended free at every worker', async () => {
  const single = { name: 'fabrikam', concurrency: 1 }
  const { admission } = worker({ leaseMs: 600_000 })
  ;(await granted(admission, 100, [single])).end(ended)
  // No time passes on the worker's clock.
  const other = worker({ leaseMs: 600_000 }).admission
  await until(async () => {
    const answer = await other.reserve({ candidates: [wide], tenant: [single], tokens: 100 })
    return answer.kind === 'granted'
  }, 'the slot is free')
})

it('a worker that drains a deployment heeds it at once', async () => {
  const { admission } = worker()
  await stream(admission, 100)
  await admission.drain('a', { reason: 'test' })
  expect(await admission.reserve({ candidates: [wide], tenant: [tenant], tokens: 100 })).toMatchObject({
    kind: 'later',
    reason: 'drained',
  })
})

it('a drain is heeded by every worker when its lots have ended', async () => {
  const { admission } = worker()
  await stream(admission, 100)
  await worker().admission.drain('a', { reason: 'test' })
  await clock.advance(25)
  expect(await admission.reserve({ candidates: [wide], tokens: 100 })).toMatchObject({ kind: 'later' })
})

type Step =
  | { kind: 'burst'; by: number; calls: number; tokens: number[]; limited: boolean }
  | { kind: 'pause'; ms: number }
  | { kind: 'end'; nth: number; used: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('burst' as const),
      by: fc.nat(1),
      calls: fc.integer({ min: 1, max: 60 }),
      tokens: fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 4 }),
      limited: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('pause' as const), ms: fc.constantFrom(1, 5, 24, 60, 2_000) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('end' as const), nth: fc.nat(50), used: fc.nat(900) }) },
)

it('no order of bursts, pauses and ends leaves anything reserved, or forgets a call', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 15 }), async (steps) => {
      await fresh()
      const workers = [worker().admission, worker().admission]
      const running: { grant: Grant; tokens: number; limited: boolean }[] = []
      let [calls, tokens, tenantCalls, tenantTokens] = [0, 0, 0, 0]
      const end = ({ grant, tokens: estimate, limited }: (typeof running)[number], used: number) => {
        grant.end({ ...ended, usage: usageOf(used) })
        if (limited) tenantTokens += used - estimate
      }
      for (const one of steps) {
        if (one.kind === 'pause') await clock.advance(one.ms)
        else if (one.kind === 'end') {
          const [over] = running.splice(one.nth % Math.max(1, running.length), 1)
          if (over !== undefined) end(over, one.used)
        } else {
          for (let n = 0; n < one.calls; n++) {
            await clock.advance(1)
            const size = one.tokens[n % one.tokens.length] ?? 1
            const by = workers[one.by] as Admission
            running.push({
              grant: await granted(by, size, one.limited ? [tenant] : []),
              tokens: size,
              limited: one.limited,
            })
            calls++
            tokens += size
            if (one.limited) {
              tenantCalls++
              tenantTokens += size
            }
            await turn()
          }
        }
      }
      for (const over of running.splice(0)) end(over, over.tokens + 1)
      const [first] = workers as [Admission]
      await settled(first)
      expect((await stateOf(first))?.usedTokens).toBe(tokens)
      expect(await logLength()).toBe(calls)
      const { tenantLeft } = await granted(first, 1)
      expect(tenantLeft).toMatchObject({
        requests: tenant.requestsPerMinute - tenantCalls - 1,
        tokens: tenant.tokensPerMinute - tenantTokens - 1,
      })
      close()
    }),
    { numRuns: 40 },
  )
}, 120_000)
