import { randomUUID } from 'node:crypto'
import type { Budget } from '@sluice/contracts'
import type { Clock, Timer } from '@sluice/resilience'
import type { Cosmos } from '@sluice/storage'
import { createBudgetCheckpoints } from './budget-checkpoints.ts'
import { BudgetOutage } from './budget-outage.ts'
import { type Period, periodAt, resetsInMs, toNano, toUsd } from './budget-periods.ts'
import { createBudgetScript } from './budget-script.ts'
import type { BudgetHold, Budgets } from './budget-types.ts'
import type { ScriptingRedis } from './quota-script.ts'
import { usualLeaseMs } from './settings.ts'

export interface BudgetOptions {
  redis: ScriptingRedis
  cosmos: Pick<Cosmos, 'rows'>
  clock: Clock
  logger: { info(fields: object, message: string): void; warn(fields: object, message: string): void }
  /** This worker's part of what may be spent while Redis is out of reach, 1 ÷ workers. */
  share?: number
  /** How often a tenant's spending is written to the database: the most that a flush of Redis can forget. */
  checkpointMs?: number
  leaseMs?: number
  deadlineMs?: number
  retryMs?: number
  /** Replaces Redis TIME, epoch ms, where time is simulated. */
  time?: () => number
}

interface Running {
  tenant: string
  nano: number
  period: Period
}

const countedMs = 1_000

/**
 * Budgets over a Redis that all workers share. Amounts are set aside, charged and given back by one script, so that
 * neither a race nor a crash can overspend or leak: a hold that nobody renews ends with its lease.
 *
 * The database has a checkpoint of each tenant's month, written some seconds after money was spent, and read back when
 * Redis does not know the month. A flush forgets what was committed since the last checkpoint, and nothing is ever
 * charged twice: a commit is sent once, and when nobody knows whether it arrived it is forgotten.
 */
export function createBudgets(options: BudgetOptions): Budgets {
  const { redis, clock, logger, share = 1, checkpointMs = 5_000, leaseMs = usualLeaseMs } = options
  const { deadlineMs = 1_000, retryMs = 1_000, time } = options
  const script = createBudgetScript({ redis, clock, deadlineMs, leaseMs, time })
  const checkpoints = createBudgetCheckpoints(options.cosmos)
  const now = () => time?.() ?? clock.now()
  const outage = new BudgetOutage({ script, clock, logger, share, retryMs, onCharged: (at) => markDirty(at) })
  const running = new Map<string, Running>()
  const dirty = new Map<string, { tenant: string; period: Period }>()
  const loading = new Map<string, Promise<void>>()
  const sending = new Set<Promise<void>>()
  const counted = new Map<string, Running>()
  const worker = randomUUID().slice(0, 8)
  let serial = 0
  let renewal: Timer | undefined
  let checkpoint: Timer | undefined
  let counting: Timer | undefined
  let closed = false

  const markDirty = (at: { tenant: string; period: Period }) => {
    dirty.set(`${at.period.month} ${at.tenant}`, { tenant: at.tenant, period: at.period })
    if (!closed) checkpoint ??= clock.setTimeout(() => void writeCheckpoints(), checkpointMs)
  }

  /** Many requests may find a month missing at once; one of them reads it. */
  const load = (tenant: string, period: Period): Promise<void> => {
    const key = `${period.month} ${tenant}`
    const ongoing = loading.get(key)
    if (ongoing) return ongoing
    const started = checkpoints
      .read(tenant, period.month)
      .then((spend) => script.load(tenant, period, spend))
      .finally(() => loading.delete(key))
    loading.set(key, started)
    return started
  }

  const look = async (tenant: string, period: Period, signal?: AbortSignal) => {
    const spend = await script.look(tenant, period, signal)
    if (spend) return spend
    await load(tenant, period)
    return (await script.look(tenant, period, signal)) ?? { month: 0, days: {}, held: 0 }
  }

  const writeCheckpoints = async () => {
    checkpoint = undefined
    const due = [...dirty.values()]
    dirty.clear()
    for (const { tenant, period } of due) {
      try {
        await checkpoints.write(tenant, period.month, await look(tenant, period))
      } catch (error) {
        logger.warn({ err: error, tenant }, 'a budget was not checkpointed')
        markDirty({ tenant, period })
      }
    }
  }

  const renew = async () => {
    const byTenant = Map.groupBy(running, ([, { tenant }]) => tenant)
    for (const [tenant, holds] of byTenant) {
      const live = holds.filter(([id]) => running.has(id)).map(([id, { nano }]) => ({ id, nano }))
      await script.renew(tenant, periodAt(now()), live).catch(outage.enter)
    }
    renewal = undefined
    if (running.size > 0) armRenewal()
  }
  const armRenewal = () => {
    if (!closed) renewal ??= clock.setTimeout(() => void renew(), leaseMs / 3)
  }

  const send = (sent: Promise<void>) => {
    sending.add(sent)
    void sent.finally(() => sending.delete(sent))
  }

  const sendCounted = () => {
    counting?.cancel()
    counting = undefined
    for (const one of counted.values()) {
      if (outage.ongoing) outage.owe(one, one.nano)
      else {
        const id = `${worker}-${++serial}`
        send(script.commit(one.tenant, one.period, id, one.nano).then(() => markDirty(one), outage.enter))
      }
    }
    counted.clear()
  }

  const holdOf = (id: string, hold: Running, stored: boolean): BudgetHold => {
    let open = true
    const end = (nano: number) => {
      if (!open) return
      open = false
      running.delete(id)
      if (outage.ongoing) {
        // Its hold in Redis, if it has one, ends with its lease.
        outage.owe(hold, nano)
        return
      }
      if (nano > 0) send(script.commit(hold.tenant, hold.period, id, nano).then(() => markDirty(hold), outage.enter))
      else if (stored) send(script.release(hold.tenant, hold.period, id).catch(outage.enter))
    }
    return { commit: (usd) => end(Math.max(0, toNano(usd))), release: () => end(0) }
  }

  const ask = async (id: string, hold: Running, budget: Budget, signal?: AbortSignal) => {
    const limit = (usd: number | undefined) => (usd === undefined ? -1 : toNano(usd))
    const wanted = { id, nano: hold.nano, dayLimit: limit(budget.day_usd), monthLimit: limit(budget.month_usd) }
    const answer = await script.reserve(hold.tenant, hold.period, wanted, signal)
    if (answer !== 'not loaded') return answer
    // With Redis there and the database away, the tenant's allowance has to do.
    const known = await load(hold.tenant, hold.period).then(
      () => true,
      () => false,
    )
    return known ? script.reserve(hold.tenant, hold.period, wanted, signal) : 'not loaded'
  }

  return {
    async reserve({ tenant, estimateUsd, budget, signal }) {
      signal?.throwIfAborted()
      const id = `${worker}-${++serial}`
      const hold = { tenant, nano: Math.max(0, toNano(estimateUsd)), period: periodAt(now()) }
      if (budget.day_usd === undefined && budget.month_usd === undefined) {
        return { kind: 'held', hold: holdOf(id, hold, false) }
      }
      if (!outage.ongoing) {
        try {
          const answer = await ask(id, hold, budget, signal)
          if (answer !== 'not loaded') outage.over(tenant)
          if (answer === 'day' || answer === 'month') {
            return { kind: 'refused', period: answer, resetsInMs: resetsInMs(answer, now()) }
          }
          if (answer === 'held') {
            running.set(id, hold)
            armRenewal()
            return { kind: 'held', hold: holdOf(id, hold, true) }
          }
        } catch (error) {
          signal?.throwIfAborted()
          outage.enter(error)
        }
      }
      if (!outage.allows(hold, budget)) return { kind: 'refused', period: 'day', resetsInMs: retryMs }
      return { kind: 'held', hold: holdOf(id, hold, false) }
    },

    count(tenant, usd) {
      const nano = toNano(usd)
      if (nano <= 0) return
      const period = periodAt(now())
      const key = `${period.day} ${tenant}`
      const same = counted.get(key)
      if (same === undefined) counted.set(key, { tenant, period, nano })
      else same.nano += nano
      if (!closed) counting ??= clock.setTimeout(sendCounted, countedMs)
    },

    async spend(tenant, signal) {
      const period = periodAt(now())
      const { month, days, held } = await look(tenant, period, signal)
      return { dayUsd: toUsd(days[period.day] ?? 0), monthUsd: toUsd(month), heldUsd: toUsd(held) }
    },

    async close() {
      closed = true
      renewal?.cancel()
      checkpoint?.cancel()
      sendCounted()
      await Promise.all(sending)
      outage.close()
      await writeCheckpoints()
    },
  }
}
