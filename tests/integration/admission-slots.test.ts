import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { assumeIdle, type Grant } from '@sluice/admission'
import * as fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { admissionWorker, until } from './admission-fixture.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

let redis: PrivateRedis
const closing: (() => void)[] = []
beforeAll(async () => {
  redis = await startPrivateRedis()
})
beforeEach(async () => {
  await redis.client.flushall()
  await assumeIdle(redis.client)
})
afterEach(() => {
  for (const close of closing.splice(0)) close()
})
afterAll(() => redis.close())

const quota = { name: 'a', tokensPerMinute: 10_000_000, requestsPerMinute: 600_000, maxConcurrency: 4 }
const other = { ...quota, name: 'b', maxConcurrency: 3 }
const tenant = { name: 'contoso', concurrency: 5 }
const key = { name: 'contoso/key', concurrency: 2 }

function worker(options: Parameters<typeof admissionWorker>[1] = {}) {
  const made = admissionWorker(redis, options)
  closing.push(() => made.close())
  return made
}

const inUse = async (admission: ReturnType<typeof worker>) =>
  (await admission.states([quota, other])).map(({ slotsInUse }) => slotsInUse)

type Step =
  | { kind: 'reserve'; by: number; of: ('a' | 'b')[]; shares: ('tenant' | 'key')[] }
  | { kind: 'end'; nth: number; outcome: 'ok' | 'aborted' | 'model_rejected' }
  | { kind: 'crash'; by: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('reserve' as const),
      by: fc.nat(2),
      of: fc.constantFrom(['a'] as 'a'[], ['b'] as 'b'[], ['a', 'b'] as ('a' | 'b')[]),
      shares: fc.constantFrom([], ['tenant'] as 'tenant'[], ['tenant', 'key'] as ('tenant' | 'key')[]),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('end' as const),
      nth: fc.nat(9),
      outcome: fc.constantFrom('ok' as const, 'aborted' as const, 'model_rejected' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const), by: fc.nat(2) }) },
)

/** Each worker tells Redis at the end of its turn: between two of them the order within one is open. */
const turn = () => new Promise(setImmediate)

it('holds exactly the slots of the calls in flight, of the deployment, the tenant and the key, whatever ends or dies', async () => {
  const limits = { a: 4, b: 3, tenant: 5, key: 2 }
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
      await redis.client.flushall()
      let now = 1_700_000_000_000
      await redis.client.set('{sluice:admission}:epoch', now - 100_000)
      // The lease never ends by itself here: the machine's clock, which renews, is not the simulated one.
      const workers = Array.from({ length: 3 }, () => worker({ redis: redis.client, time: () => now }))
      let held: { grant: Grant; by: number; in: (keyof typeof limits)[] }[] = []
      const used = (name: keyof typeof limits) => held.filter((one) => one.in.includes(name)).length
      for (const one of steps) {
        now += 1
        if (one.kind === 'crash') {
          const lost = held.filter(({ by }) => by === one.by)
          held = held.filter(({ by }) => by !== one.by)
          // A lease later nothing of it is left, and what lives has been renewed: it is taken again here.
          if (lost.length > 0) now += 15_001
          for (const { grant } of lost) expect(grant.kind).toBe('granted')
          const living = held
          held = []
          for (const { grant } of living) grant.end({ outcome: 'aborted', ms: 1 })
          await turn()
          continue
        }
        if (one.kind === 'end') {
          const [ended] = held.splice(one.nth % Math.max(1, held.length), 1)
          ended?.grant.end({ outcome: one.outcome, ms: 5 })
          ended?.grant.end({ outcome: one.outcome, ms: 5 })
          await turn()
          continue
        }
        const full = one.shares.find((share) => used(share) >= limits[share])
        const open = one.of.find((name) => used(name) < limits[name])
        const answer = await workers[one.by]?.reserve({
          candidates: one.of.map((name) => (name === 'a' ? quota : other)),
          tenant: one.shares.map((share) => (share === 'key' ? key : tenant)),
          tokens: 1,
        })
        if (full !== undefined || open === undefined) {
          expect(answer).toMatchObject({ kind: 'later' })
          const reason = answer?.kind === 'later' ? answer.reason : undefined
          if (full === undefined) expect(reason).toBe('concurrency')
          else if (open !== undefined) expect(reason).toBe('tenant')
          continue
        }
        expect(answer).toMatchObject({ kind: 'granted', deployment: open })
        if (answer?.kind === 'granted') held.push({ grant: answer, by: one.by, in: [open, ...one.shares] })
      }
      expect(await inUse(workers[0] as ReturnType<typeof worker>)).toEqual([used('a'), used('b')])
      for (const { grant } of held) grant.end({ outcome: 'ok', ms: 1 })
      await turn()
      expect(await inUse(workers[0] as ReturnType<typeof worker>)).toEqual([0, 0])
      for (const one of workers) one.close()
    }),
    { numRuns: 60 },
  )
}, 120_000)

it('refuses without taking anything of anybody, and says whose limit it was', async () => {
  const admission = worker()
  const held = [
    await admission.granted({ candidates: [quota], tenant: [tenant, key], tokens: 1 }),
    await admission.granted({ candidates: [quota], tenant: [tenant, key], tokens: 1 }),
  ]
  expect(await admission.reserve({ candidates: [quota], tenant: [tenant, key], tokens: 1 })).toMatchObject({
    kind: 'later',
    reason: 'tenant',
  })
  expect(await inUse(admission)).toEqual([2, 0])
  held.push(await admission.granted({ candidates: [quota], tenant: [tenant], tokens: 1 }))
  held.push(await admission.granted({ candidates: [quota], tokens: 1 }))
  const full = await admission.reserve({ candidates: [quota], tenant: [tenant], tokens: 1 })
  expect(full).toMatchObject({ kind: 'later', reason: 'concurrency' })
  if (full.kind === 'later') expect(full.afterMs >= 20 && full.afterMs <= 1_000).toBe(true)
  for (const grant of held) grant.end({ outcome: 'ok', ms: 1 })
  await until(async () => (await inUse(admission))[0] === 0, 'all slots are free')
})

it('renews what is held beyond its lease, and puts it back after a flush', async () => {
  const admission = worker({ leaseMs: 300 })
  const grant = await admission.granted({ candidates: [quota], tenant: [tenant], tokens: 1 })
  const score = async () => Number((await redis.client.zrange('{sluice:admission}:slots:a', 0, 0, 'WITHSCORES'))[1])
  const first = await score()
  await until(async () => (await score()) > first + 600, 'the slot was renewed twice')
  await redis.client.flushall()
  await until(async () => (await inUse(admission))[0] === 1, 'the slot is back')
  expect(await redis.client.zcard('{sluice:admission}:tenant-slots:contoso')).toBe(1)
  grant.end({ outcome: 'ok', ms: 1 })
  await until(async () => (await inUse(admission))[0] === 0, 'the slot is free')
})

async function holder(slots: number): Promise<ChildProcess> {
  const main = fileURLToPath(new URL('../fixtures/slot-holder.ts', import.meta.url))
  const child = spawn(process.execPath, [main, String(redis.client.options.path), String(slots)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  for await (const line of createInterface({ input: child.stdout })) if (line === 'held') return child
  throw new Error('the holder ended')
}

it('gives the slots of a killed worker back after their lease, and not before', async () => {
  const admission = worker({ leaseMs: 2_000 })
  const child = await holder(4)
  try {
    const leases = async () => {
      const scores = await redis.client.zrange('{sluice:admission}:slots:a', 0, -1, 'WITHSCORES')
      return Math.min(...scores.filter((_, index) => index % 2 === 1).map(Number))
    }
    const first = await leases()
    await until(async () => (await leases()) > first, 'the slots were renewed')
    expect((await admission.reserve({ candidates: [quota], tokens: 1 })).kind).toBe('later')
  } finally {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  const killedAt = performance.now()
  await until(async () => (await admission.reserve({ candidates: [quota], tokens: 1 })).kind === 'granted', 'freed')
  expect(performance.now() - killedAt).toBeLessThan(10_000)
  expect((await inUse(admission))[0]).toBe(1)
})

it('decides what is asked in one turn as if each came alone, and frees what has ended in it first', async () => {
  await redis.client.set('{sluice:admission}:epoch', Date.now() - 100_000)
  const admission = worker()
  const ask = (candidates: (typeof quota)[], shares: (typeof tenant)[] = []) =>
    admission.reserve({ candidates, tenant: shares, tokens: 1 })
  const places = (answers: Awaited<ReturnType<typeof ask>>[]) =>
    answers.map((answer) => (answer.kind === 'granted' ? answer.deployment : answer.kind))
  const first = await Promise.all(Array.from({ length: 150 }, () => ask([quota, other])))
  expect(places(first)).toEqual([...Array(4).fill('a'), ...Array(3).fill('b'), ...Array(143).fill('later')])

  for (const answer of first) if (answer.kind === 'granted') answer.end({ outcome: 'aborted', ms: 1 })
  // The same name with another limit, and other tenants, in the same turn.
  const narrow = { ...quota, maxConcurrency: 2 }
  const second = await Promise.all([
    ...Array.from({ length: 6 }, () => ask([quota, other], [tenant])),
    ask([narrow]),
    ask([other], [{ name: 'somebody else', concurrency: 1 }]),
  ])
  expect(places(second)).toEqual(['a', 'a', 'a', 'a', 'b', 'later', 'later', 'b'])
  for (const answer of second) if (answer.kind === 'granted') answer.end({ outcome: 'ok', ms: 1 })
  expect(places([await ask([narrow], [tenant])])).toEqual(['a'])
})
