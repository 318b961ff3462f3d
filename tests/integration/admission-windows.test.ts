import { systemClock } from '@sluice/resilience'
import { type Admission, createAdmission, type Grant } from '@sluice/admission'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { AdmissionModel } from './admission-model.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

let redis: PrivateRedis
beforeAll(async () => {
  redis = await startPrivateRedis()
})
afterAll(() => redis.close())

const quiet = { info: () => undefined, warn: () => undefined }
const names = ['a', 'b', 'c']
const limitsOf = (name: string) =>
  ({
    a: { tokens: 1_000, calls: 12 },
    b: { tokens: 50_000, calls: 180 },
    c: { tokens: 300, calls: 1_000 },
  })[name] ?? { tokens: 1, calls: 1 }

type Step =
  | { kind: 'wait'; ms: number }
  | { kind: 'reserve'; of: string[]; tokens: number; canWait: boolean }
  | { kind: 'wait until told'; of: string[]; tokens: number; canWait: boolean }
  | { kind: 'cool'; nth: number; ms: number }
  | { kind: 'observe'; nth: number; used: number }

const some = fc.uniqueArray(fc.constantFrom(...names), { minLength: 1, maxLength: 3 })
const tokens = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constantFrom(1, 299, 300, 999))
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(0, 1, 39, 500, 1_039, 1_040, 9_000, 30_000, 61_000, 200_000),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('reserve' as const), of: some, tokens, canWait: fc.boolean() }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('wait until told' as const), of: some, tokens, canWait: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('cool' as const),
      nth: fc.nat(10),
      ms: fc.integer({ min: 1, max: 20_000 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('observe' as const),
      nth: fc.nat(50),
      used: fc.integer({ min: 0, max: 1_000 }),
    }),
  },
)

const quota = (name: string) => ({
  name,
  tokensPerMinute: limitsOf(name).tokens,
  requestsPerMinute: limitsOf(name).calls,
})

it('agrees with a model that counts, on every grant and on the earliest moment of every refusal', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 80 }), async (steps) => {
      await redis.client.flushall()
      let now = 1_700_000_000_000
      const admission = createAdmission({ redis: redis.client, clock: systemClock, logger: quiet, time: () => now })
      const model = new AdmissionModel(now)
      const grants: Grant[] = []
      // Whatever comes first fixes the epoch, in Redis and in the model alike.
      await admission.reserve({ candidates: [quota('a')], tokens: 1 })
      for (const one of steps) now += await play(one, { admission, model, grants, now })
      admission.close()
    }),
    { numRuns: 300 },
  )
}, 60_000)

/** @returns how long the step took */
async function play(
  step: Step,
  { admission, model, grants, now }: { admission: Admission; model: AdmissionModel; grants: Grant[]; now: number },
): Promise<number> {
  if (step.kind === 'wait') return step.ms
  if (step.kind === 'cool') {
    const grant = grants.at(-1 - step.nth)
    if (!grant) return 0
    await admission.cooled(grant, step.ms)
    model.cool(grant.deployment, grant.quota.tokensPerMinute, now + step.ms, now)
    return 0
  }
  if (step.kind === 'observe') {
    const grant = grants.at(-1 - step.nth)
    if (!grant) return 0
    const limit = grant.quota.tokensPerMinute
    const seen = {
      used: Math.min(step.used, limit),
      usedAtGrant: grant.usedTokens,
      grantedAt: grant.atMs ?? 0,
      tokens: grant.tokens,
    }
    await admission.observed(grant, { remainingTokens: limit - seen.used })
    // Nothing new is not even reported.
    if (seen.used > grant.usedTokens || grant.unseenTokens > 0) model.observe(grant.deployment, limit, seen, now)
    return 0
  }
  const able = step.of.filter((name) => step.tokens <= limitsOf(name).tokens)
  const { canWait } = step
  const priority = canWait ? ('bulk' as const) : ('interactive' as const)
  const answer = await admission.reserve({ candidates: step.of.map(quota), tokens: step.tokens, priority })
  if (able.length === 0) {
    expect(answer).toEqual({ kind: 'never', reason: 'deployment' })
    return 0
  }
  const open = able.find((name) => model.hasRoom(name, limitsOf(name), step.tokens, now, canWait))
  if (open === undefined) {
    const first = Math.min(...able.map((name) => model.firstRoom(name, limitsOf(name), step.tokens, now, canWait)))
    expect(answer).toEqual({ kind: 'later', afterMs: first - now, reason: 'deployment' })
    return step.kind === 'wait until told' ? first - now : 0
  }
  model.grant(open, limitsOf(open), step.tokens, now, canWait)
  expect(answer).toMatchObject({
    kind: 'granted',
    deployment: open,
    atMs: now,
    usedTokens: model.used(open, now),
    unseenTokens: model.unseen(open, limitsOf(open).tokens, now),
  })
  if (answer.kind === 'granted') grants.push(answer)
  return 0
}
