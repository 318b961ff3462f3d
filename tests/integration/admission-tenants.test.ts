import type { Usage } from '@sluice/contracts'
import type { Grant } from '@sluice/admission'
import * as fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { admissionWorker } from './admission-fixture.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

let redis: PrivateRedis
let now: number
beforeAll(async () => {
  redis = await startPrivateRedis()
})
beforeEach(async () => fresh())
afterAll(() => redis.close())

async function fresh(): Promise<void> {
  await redis.client.flushall()
  now = 1_700_000_000_123
  await redis.client.set('{sluice:admission}:epoch', now - 100_000)
}

const wide = { name: 'a', tokensPerMinute: 50_000_000, requestsPerMinute: 6_000_000 }
const shares = {
  contoso: { name: 'contoso', requestsPerMinute: 20, tokensPerMinute: 3_000 },
  key: { name: 'contoso/key', requestsPerMinute: 7 },
  fabrikam: { name: 'fabrikam', tokensPerMinute: 900 },
}
type ShareName = keyof typeof shares

/** The limits of tenants as naively as possible: each question is answered by counting what the last minute holds. */
class TenantModel {
  readonly #grants: { at: number; tokens: number; of: readonly ShareName[] }[] = []

  #within(name: ShareName, at: number) {
    // A second leaves as a whole when a minute has passed since its last moment.
    return this.#grants.filter((one) => one.of.includes(name) && Math.floor(one.at / 1000) * 1000 + 61_000 > at)
  }

  hasRoom(name: ShareName, tokens: number, at: number): boolean {
    const limits: { requestsPerMinute?: number; tokensPerMinute?: number } = shares[name]
    const within = this.#within(name, at)
    const spent = within.reduce((sum, one) => sum + one.tokens, 0)
    if (within.length + 1 > (limits.requestsPerMinute ?? Infinity)) return false
    return spent + tokens <= (limits.tokensPerMinute ?? Infinity)
  }

  /** The first moment from `from` on at which all have room, bisected: without new grants room only grows. */
  firstRoom(of: readonly ShareName[], tokens: number, from: number): number {
    const open = (at: number) => of.every((name) => this.hasRoom(name, tokens, at))
    if (open(from)) return from
    let [low, high] = [from, from + 200_000]
    if (!open(high)) throw new Error('no room ever')
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (open(middle)) high = middle
      else low = middle
    }
    return high
  }

  /** The least of all limits, and when the last of what counts against them has gone. */
  left(of: readonly ShareName[], at: number) {
    const limits = of.map((name) => {
      const within = this.#within(name, at)
      const own: { requestsPerMinute?: number; tokensPerMinute?: number } = shares[name]
      return {
        requests: (own.requestsPerMinute ?? Infinity) - within.length,
        tokens: (own.tokensPerMinute ?? Infinity) - within.reduce((sum, one) => sum + one.tokens, 0),
        resetMs: Math.max(0, ...within.map((one) => Math.floor(one.at / 1000) * 1000 + 61_000 - at)),
      }
    })
    const least = (what: 'requests' | 'tokens') => Math.max(0, Math.min(...limits.map((one) => one[what])))
    const [requests, tokens] = [least('requests'), least('tokens')]
    return {
      ...(requests === Infinity ? {} : { requests }),
      ...(tokens === Infinity ? {} : { tokens }),
      ...(of.length === 0 ? {} : { resetMs: Math.max(...limits.map((one) => one.resetMs)) }),
    }
  }

  grant(of: readonly ShareName[], tokens: number, at: number) {
    const grant = { at, tokens, of }
    this.#grants.push(grant)
    return grant
  }
}

type Step =
  | { kind: 'wait'; ms: number }
  | { kind: 'reserve'; of: ShareName[]; tokens: number; untilTold: boolean }
  | { kind: 'end'; nth: number; used: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(0, 1, 876, 877, 1_000, 9_000, 30_000, 61_000, 200_000),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('reserve' as const),
      of: fc.constantFrom<ShareName[]>(['contoso'], ['contoso', 'key'], ['fabrikam'], ['fabrikam', 'contoso']),
      tokens: fc.integer({ min: 1, max: 600 }),
      untilTold: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('end' as const), nth: fc.nat(6), used: fc.nat(800) }),
  },
)

const usageOf = (tokens: number): Usage => ({
  input_tokens: Math.floor(tokens / 3),
  cached_tokens: 0,
  output_tokens: tokens - Math.floor(tokens / 3),
  reasoning_tokens: 0,
})

it('agrees with a model that counts, on every grant, every correction, and every earliest moment', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 80 }), async (steps) => {
      await fresh()
      const admission = admissionWorker(redis, { redis: redis.client, time: () => now })
      const model = new TenantModel()
      const running: { grant: Grant; counted: { tokens: number } }[] = []
      for (const one of steps) {
        if (one.kind === 'wait') {
          now += one.ms
          continue
        }
        if (one.kind === 'end') {
          const [ended] = running.splice(one.nth % Math.max(1, running.length), 1)
          ended?.grant.end({ outcome: 'ok', ms: 10, usage: usageOf(one.used) })
          if (ended) ended.counted.tokens = one.used
          continue
        }
        const tenant = one.of.map((name) => shares[name])
        const answer = await admission.reserve({ candidates: [wide], tenant, tokens: one.tokens })
        const first = model.firstRoom(one.of, one.tokens, now)
        if (first > now) {
          const tenantLeft = model.left(one.of, now)
          expect(answer).toEqual({ kind: 'later', afterMs: first - now, reason: 'tenant', tenantLeft })
          if (one.untilTold) now = first
          continue
        }
        if (answer.kind !== 'granted') throw new Error(`expected room, got ${JSON.stringify(answer)}`)
        running.push({ grant: answer, counted: model.grant(one.of, one.tokens, now) })
        expect(answer.tenantLeft).toEqual(model.left(one.of, now))
      }
      admission.close()
    }),
    { numRuns: 200 },
  )
}, 120_000)

it('counts nothing of a minute whose state has expired', async () => {
  const admission = admissionWorker(redis, { redis: redis.client, time: () => now })
  const ask = () => admission.granted({ candidates: [wide], tenant: [shares.contoso], tokens: 100 })
  for (let second = 0; second < 5; second++, now += 1_000) await ask()
  expect(await redis.client.pttl('{sluice:admission}:tenant-log:contoso')).toBeGreaterThan(61_000)
  now += 300_000
  await redis.client.del('{sluice:admission}:tenant-state:contoso')
  for (let second = 0; second < 3; second++, now += 1_000) await ask()
  // What is left of those of five minutes ago would leave the minute a second time with the first of these.
  now += 59_000
  expect((await ask()).tenantLeft).toMatchObject({ requests: 20 - 2, tokens: 3_000 - 200 })
  admission.close()
})

it('takes nothing of the deployment when the tenant has no room, nor of the tenant when the deployment has none', async () => {
  const admission = admissionWorker(redis, { redis: redis.client, time: () => now })
  const narrow = { name: 'a', tokensPerMinute: 500, requestsPerMinute: 6_000 }
  const tenant = [{ name: 'contoso', tokensPerMinute: 400 }]
  await admission.granted({ candidates: [narrow], tenant, tokens: 300 })
  expect(await admission.reserve({ candidates: [narrow], tenant, tokens: 150 })).toMatchObject({ reason: 'tenant' })
  expect((await admission.states([narrow]))[0]?.usedTokens).toBe(300)
  // The deployment is full for this one; the tenant's hundred must still be there afterwards.
  await admission.granted({ candidates: [narrow], tokens: 200 })
  expect(await admission.reserve({ candidates: [narrow], tenant, tokens: 100 })).toMatchObject({ reason: 'deployment' })
  const elsewhere = { ...narrow, name: 'b' }
  expect(await admission.granted({ candidates: [elsewhere], tenant, tokens: 100 })).toMatchObject({
    deployment: 'b',
    tenantLeft: { tokens: 0 },
  })
  expect(await admission.reserve({ candidates: [elsewhere], tenant, tokens: 401 })).toEqual({
    kind: 'never',
    reason: 'tenant',
  })
  admission.close()
})

it('waits for whichever comes last, the deployment or the tenant', async () => {
  const admission = admissionWorker(redis, { redis: redis.client, time: () => now })
  const narrow = { name: 'a', tokensPerMinute: 500, requestsPerMinute: 6_000 }
  const tenant = [{ name: 'contoso', tokensPerMinute: 500 }]
  now = 1_700_000_000_900
  await admission.granted({ candidates: [narrow], tenant, tokens: 500 })
  // The deployment's leave after 61 s to the millisecond, the tenant's with their second.
  expect(await admission.reserve({ candidates: [narrow], tenant, tokens: 1 })).toEqual({
    kind: 'later',
    afterMs: 61_000,
    reason: 'deployment',
  })
  now += 60_100
  expect(await admission.reserve({ candidates: [narrow], tenant, tokens: 1 })).toMatchObject({ afterMs: 900 })
  admission.close()
})

it('corrects a provisioned deployment to what its calls used, and no other', async () => {
  const admission = admissionWorker(redis, { redis: redis.client, time: () => now })
  const ptu = { name: 'p', tokensPerMinute: 1_000, requestsPerMinute: 6_000, kind: 'ptu' as const }
  const standard = { ...ptu, name: 's', kind: 'standard' as const }
  const used = async () => (await admission.states([ptu, standard])).map(({ usedTokens }) => usedTokens)
  for (const quota of [ptu, standard]) {
    const grant = await admission.granted({ candidates: [quota], tokens: 800 })
    grant.end({
      outcome: 'ok',
      ms: 10,
      usage: { input_tokens: 100, cached_tokens: 60, output_tokens: 30, reasoning_tokens: 0 },
    })
  }
  expect(await used()).toEqual([70, 800])
  admission.close()
})

it('leaves room for urgent calls while others fill the rest of the minute evenly', async () => {
  const admission = admissionWorker(redis, { redis: redis.client, time: () => now })
  const quota = { name: 'a', tokensPerMinute: 61_000, requestsPerMinute: 60_000 }
  const bulk = { candidates: [quota], tokens: 100, priority: 'bulk' as const }
  const urgent = { ...bulk, priority: 'interactive' as const }
  const start = now
  let [bulkTokens, waited] = [0, 0]
  // Two minutes of as much bulk as may run, and half of the quota as urgent calls, each fifth of a second.
  for (let tick = 0; tick < 600; tick++) {
    now = start + tick * 200
    const asked = await admission.reserve(urgent)
    if (asked.kind === 'later') waited = Math.max(waited, asked.afterMs)
    while ((await admission.reserve(bulk)).kind === 'granted') bulkTokens += 100
  }
  // Bulk may begin with a part of the window at once, and that part is missing a minute later for about a second.
  expect(waited).toBeLessThanOrEqual(1_500)
  // Of 122,000 tokens urgent calls took 60,000.
  expect(bulkTokens).toBeGreaterThan(0.9 * 62_000)
  admission.close()
})

it('does not let urgent calls starve the others', async () => {
  const admission = admissionWorker(redis, { redis: redis.client, time: () => now })
  const quota = { name: 'a', tokensPerMinute: 61_000, requestsPerMinute: 60_000 }
  const start = now
  const tokens = { interactive: 0, bulk: 0 }
  for (let tick = 0; tick < 600; tick++) {
    now = start + tick * 200
    // A dispatcher takes turns: one of each, again and again, until nothing is granted any more.
    for (let open = true; open;) {
      open = false
      for (const priority of ['interactive', 'bulk'] as const) {
        const answer = await admission.reserve({ candidates: [quota], tokens: 100, priority })
        if (answer.kind !== 'granted') continue
        tokens[priority] += 100
        open = true
      }
    }
  }
  expect(tokens.bulk).toBeGreaterThanOrEqual(0.1 * (tokens.bulk + tokens.interactive))
  admission.close()
})
