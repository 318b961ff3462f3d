import { type BudgetHold, type BudgetOptions, type Budgets, createBudgets } from '@sluice/admission'
import { startCosmosEmulator } from '@sluice/emulator-cosmos'
import { systemClock } from '@sluice/resilience'
import { connectCosmos, type Cosmos } from '@sluice/storage'
import * as fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { until } from './admission-fixture.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

let redis: PrivateRedis
let emulator: Awaited<ReturnType<typeof startCosmosEmulator>>
let cosmos: Cosmos
let databases = 0
let log: string[] = []
const closing: Budgets[] = []
beforeAll(async () => {
  ;[redis, emulator] = await Promise.all([startPrivateRedis(), startCosmosEmulator({})])
})
beforeEach(async () => {
  await redis.client.flushall()
  const { endpoint, key } = emulator
  cosmos = connectCosmos({ endpoint, key, database: `budgets-${++databases}`, deadlineMs: 5_000 })
  await cosmos.provision()
  log = []
})
afterEach(async () => {
  for (const budgets of closing.splice(0)) await budgets.close()
  await cosmos.close()
})
afterAll(async () => {
  await redis.close()
  await emulator.close()
})

const note = (_fields: object, message: string) => void log.push(message)
function worker(options: Partial<BudgetOptions> = {}): Budgets {
  const logger = { info: note, warn: note }
  const budgets = createBudgets({
    redis: redis.connect(),
    cosmos,
    clock: systemClock,
    logger,
    checkpointMs: 60_000,
    deadlineMs: 10_000,
    retryMs: 50,
    ...options,
  })
  closing.push(budgets)
  return budgets
}

const tenant = 'contoso'
async function held(budgets: Budgets, estimateUsd: number, budget = {}): Promise<BudgetHold> {
  const answer = await budgets.reserve({ tenant, estimateUsd, budget })
  if (answer.kind === 'refused') throw new Error(`refused: ${answer.period}`)
  return answer.hold
}

describe('a budget', () => {
  it('is never exceeded by many that reserve at once, and is used up to the last cent', async () => {
    const workers = [worker(), worker(), worker()]
    const budget = { day_usd: 10, month_usd: 100 }
    const answers = await Promise.all(
      Array.from({ length: 90 }, async (_, index) =>
        workers[index % 3]?.reserve({ tenant, estimateUsd: 0.25, budget }),
      ),
    )
    const holds = answers.flatMap((answer) => (answer?.kind === 'held' ? [answer.hold] : []))
    expect(holds.length).toBe(40)
    expect(await workers[0]?.spend(tenant)).toEqual({ dayUsd: 0, monthUsd: 0, heldUsd: 10 })
    for (const hold of holds.slice(0, 20)) hold.commit(0.2)
    for (const hold of holds.slice(20)) hold.release()
    for (const hold of holds) hold.commit(5)
    await until(async () => (await workers[0]?.spend(tenant))?.heldUsd === 0, 'nothing is held')
    expect(await workers[1]?.spend(tenant)).toEqual({ dayUsd: 4, monthUsd: 4, heldUsd: 0 })
  })

  it('counts what calls without a budget cost, a second’s worth at a time and before it closes', async () => {
    const [budgets, another] = [worker(), worker()]
    for (let call = 0; call < 5; call++) budgets.count('fabrikam', 0.25)
    await until(async () => (await another.spend('fabrikam')).dayUsd > 0, 'it is counted')
    expect(await another.spend('fabrikam')).toEqual({ dayUsd: 1.25, monthUsd: 1.25, heldUsd: 0 })
    budgets.count('fabrikam', 1)
    budgets.count('contoso', 0)
    await budgets.close()
    expect((await another.spend('fabrikam')).monthUsd).toBe(2.25)
    expect((await another.spend('contoso')).monthUsd).toBe(0)
  })

  it('counts tenants apart, and those without a budget too', async () => {
    const budgets = worker()
    const other = await budgets.reserve({ tenant: 'fabrikam', estimateUsd: 100, budget: {} })
    if (other.kind !== 'held') throw new Error('no budget refuses nothing')
    other.hold.commit(0.000_000_075)
    await held(budgets, 3, { day_usd: 3 })
    await until(async () => (await budgets.spend('fabrikam')).dayUsd > 0, 'it was counted')
    expect(await budgets.spend('fabrikam')).toEqual({ dayUsd: 7.5e-8, monthUsd: 7.5e-8, heldUsd: 0 })
    expect(await budgets.reserve({ tenant, estimateUsd: 0.01, budget: { day_usd: 3 } })).toMatchObject({
      kind: 'refused',
      period: 'day',
    })
  })

  it('begins anew with the day and with the month, and says when', async () => {
    let now = Date.UTC(2026, 10, 29, 23, 59, 0)
    const budgets = worker({ time: () => now })
    const budget = { day_usd: 2, month_usd: 3 }
    const first = await held(budgets, 2, budget)
    expect(await budgets.reserve({ tenant, estimateUsd: 1, budget })).toEqual({
      kind: 'refused',
      period: 'day',
      resetsInMs: 60_000,
    })
    now += 60_000
    // It belongs to the day on which it was reserved.
    first.commit(2)
    expect(await budgets.spend(tenant)).toEqual({ dayUsd: 0, monthUsd: 2, heldUsd: 0 })
    ;(await held(budgets, 1, budget)).commit(1)
    expect(await budgets.reserve({ tenant, estimateUsd: 0.5, budget })).toEqual({
      kind: 'refused',
      period: 'month',
      resetsInMs: 24 * 3600_000,
    })
    now += 24 * 3600_000
    expect((await budgets.spend(tenant)).monthUsd).toBe(0)
    await held(budgets, 2, budget)
  })

  it('agrees with a model that adds up, whatever is reserved, committed, released or left by a crash', async () => {
    type Step = { kind: 'reserve' | 'commit' | 'release'; cents: number; nth: number } | { kind: 'wait'; ms: number }
    const step: fc.Arbitrary<Step> = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({
          kind: fc.constantFrom('reserve' as const, 'reserve' as const, 'commit' as const, 'release' as const),
          cents: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 120 })),
          nth: fc.nat(8),
        }),
      },
      // Beyond the lease: the simulated time passes without a renewal, as it does for a worker that died.
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(1_000, 14_999, 15_000) }),
      },
    )
    const connection = redis.connect()
    let runs = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 50 }), async (steps) => {
        const who = `tenant-${++runs}`
        let now = Date.UTC(2026, 5, 15, 12)
        const budgets = createBudgets({
          redis: connection,
          cosmos,
          clock: systemClock,
          logger: { info: note, warn: note },
          checkpointMs: 3600_000,
          deadlineMs: 10_000,
          time: () => now,
        })
        const model = { spent: 0, holds: [] as { hold: BudgetHold; cents: number; until: number }[] }
        for (const one of steps) {
          if (one.kind === 'wait') {
            now += one.ms
            continue
          }
          const reserved = () => model.holds.reduce((sum, { cents, until }) => sum + (until > now ? cents : 0), 0)
          if (one.kind === 'reserve') {
            const ask = { tenant: who, estimateUsd: one.cents / 100, budget: { day_usd: 5, month_usd: 50 } }
            const answer = await budgets.reserve(ask)
            const fits = model.spent + reserved() + one.cents <= 500
            expect(answer.kind).toBe(fits ? 'held' : 'refused')
            if (answer.kind === 'held') model.holds.push({ hold: answer.hold, cents: one.cents, until: now + 15_000 })
            continue
          }
          const [ended] = model.holds.splice(one.nth % Math.max(1, model.holds.length), 1)
          if (one.kind === 'release') ended?.hold.release()
          else if (ended) {
            // A hold that its lease has ended is charged all the same: the work was done.
            ended.hold.commit(one.cents / 100)
            model.spent += one.cents
          }
        }
        const live = model.holds.filter(({ until }) => until > now).reduce((sum, { cents }) => sum + cents, 0)
        const spend = await budgets.spend(who)
        expect(Math.round(spend.dayUsd * 100)).toBe(model.spent)
        expect(Math.round(spend.heldUsd * 100)).toBe(live)
        for (const { hold } of model.holds) hold.release()
        expect((await budgets.spend(who)).heldUsd).toBe(0)
        await budgets.close()
      }),
      { numRuns: 40 },
    )
  }, 120_000)

  it('keeps what a living worker holds beyond its lease, and gives back what a dead one held', async () => {
    const living = worker({ leaseMs: 600 })
    const dead = worker({ leaseMs: 600, clock: { ...systemClock, setTimeout: () => ({ cancel: () => undefined }) } })
    const budget = { day_usd: 5 }
    await held(living, 2, budget)
    await held(dead, 3, budget)
    await until(async () => (await living.spend(tenant)).heldUsd === 2, 'the lease of the dead has ended')
    expect((await living.reserve({ tenant, estimateUsd: 3, budget })).kind).toBe('held')
  })
})

describe('a flush of Redis', () => {
  it('brings back the checkpoint, adds what was committed meanwhile, and charges nothing twice', async () => {
    const first = worker({ checkpointMs: 20 })
    ;(await held(first, 3, { day_usd: 10 })).commit(3)
    const stored = () =>
      cosmos.rows<{ id: string; month_nano: number }>('budgets').query({ sql: 'SELECT * FROM c', limit: 9 })
    await until(async () => (await stored())[0]?.month_nano === 3e9, 'there is a checkpoint')
    const open = await held(first, 2, { day_usd: 10 })
    await redis.client.flushall()
    // Committed before anybody has loaded the month again.
    open.commit(1.5)
    const workers = [worker(), worker(), first]
    const spends = await Promise.all(workers.map((budgets) => budgets.spend(tenant)))
    expect(spends.every(({ dayUsd }) => dayUsd === 4.5)).toBe(true)
    expect((await first.reserve({ tenant, estimateUsd: 6, budget: { day_usd: 10 } })).kind).toBe('refused')
    await until(async () => (await stored())[0]?.month_nano === 4.5e9, 'the checkpoint has both')
  })

  it('forgets at most what was committed since the last checkpoint, and a smaller checkpoint does not overwrite', async () => {
    const budgets = worker({ checkpointMs: 3600_000 })
    ;(await held(budgets, 3, { day_usd: 10 })).commit(3)
    await until(async () => (await budgets.spend(tenant)).dayUsd === 3, 'it was counted')
    await budgets.close()
    const next = worker()
    ;(await held(next, 1, { day_usd: 10 })).commit(1)
    await until(async () => (await next.spend(tenant)).dayUsd === 4, 'it was counted')
    await redis.client.flushall()
    expect((await next.spend(tenant)).dayUsd).toBe(3)
    await next.close()
    const row = await cosmos
      .rows<{ id: string; month_nano: number }>('budgets')
      .query({ sql: 'SELECT * FROM c', limit: 9 })
    expect(row.map(({ month_nano }) => month_nano)).toEqual([3e9])
  })
})

describe('out of reach', () => {
  it('leaves a small allowance while Redis is away, and charges it when Redis is back', async () => {
    const connection = redis.connect()
    const budgets = worker({ redis: connection, share: 0.5 })
    const budget = { day_usd: 40 }
    ;(await held(budgets, 1, budget)).commit(1)
    await until(async () => (await budgets.spend(tenant)).dayUsd === 1, 'it was counted')
    connection.disconnect()
    // A twentieth of 40, and half of that for one of two workers.
    const holds: BudgetHold[] = []
    for (;;) {
      const answer = await budgets.reserve({ tenant, estimateUsd: 0.25, budget })
      if (answer.kind === 'refused') break
      holds.push(answer.hold)
    }
    expect(holds.length).toBe(4)
    for (const hold of holds) hold.commit(0.2)
    await connection.connect()
    await until(async () => {
      const spend = await budgets.spend(tenant).catch(() => undefined)
      return spend !== undefined && Math.round(spend.dayUsd * 100) === 180
    }, 'the debt is paid')
    expect(log.filter((line) => line.startsWith('budgets'))).toEqual([
      'budgets cannot be asked: a small allowance is left to each tenant',
      'budgets can be asked again',
    ])
  })

  it('leaves the same allowance while the database cannot tell what a flushed Redis forgot', async () => {
    const unreachable = connectCosmos({ endpoint: 'http://127.0.0.1:9', key: 'eA==', database: 'x', deadlineMs: 300 })
    const budgets = worker({ cosmos: unreachable })
    const budget = { month_usd: 300 }
    const answers = [0.3, 0.3, 0.3].map((estimateUsd) => budgets.reserve({ tenant, estimateUsd, budget }))
    expect((await Promise.all(answers)).map(({ kind }) => kind).toSorted()).toEqual(['held', 'refused', 'refused'])
    await unreachable.close()
  })
})
