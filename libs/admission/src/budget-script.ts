import { AppError } from '@sluice/errors'
import { type Clock, withDeadline } from '@sluice/resilience'
import type { Period } from './budget-periods.ts'
import { luaScript, type ScriptingRedis } from './quota-script.ts'

/** A month's spending of a tenant, in nano-dollars. */
export interface MonthSpend {
  month: number
  /** By day: `2026-11-21`. */
  days: Record<string, number>
}

/** The operations of budgets.lua. @throws AppError `storage_unavailable`; the signal's reason. */
export function createBudgetScript(options: {
  redis: ScriptingRedis
  clock: Clock
  deadlineMs: number
  leaseMs: number
  time?: (() => number) | undefined
}) {
  const { redis, clock, deadlineMs, leaseMs, time } = options
  const evaluate = luaScript(['budgets.lua'], { lease: leaseMs })

  const run = async (
    operation: string,
    tenant: string,
    period: Period,
    operands: readonly (string | number)[] = [],
    signal?: AbortSignal,
  ): Promise<readonly unknown[]> => {
    // The hash tag keeps a tenant's keys on one node of a cluster, and different tenants' on different ones.
    const keys = ['spent', 'holds', 'amounts'].map((name) => `sluice:budget:{${tenant}}:${name}`)
    const args = [operation, time === undefined ? '' : time(), period.month, period.day, ...operands]
    const late = () => new AppError('storage_unavailable', `Redis did not answer within ${deadlineMs} ms.`)
    try {
      const answer = await withDeadline(deadlineMs, signal, () => evaluate(redis, keys, args), late, clock)
      return answer as readonly unknown[]
    } catch (cause) {
      signal?.throwIfAborted()
      if (cause instanceof AppError) throw cause
      throw new AppError('storage_unavailable', 'Redis could not count a budget.', { cause })
    }
  }

  return {
    async reserve(
      tenant: string,
      period: Period,
      ask: { id: string; nano: number; dayLimit: number; monthLimit: number },
      signal?: AbortSignal,
    ): Promise<'held' | 'day' | 'month' | 'not loaded'> {
      const operands = [ask.id, ask.nano, ask.dayLimit, ask.monthLimit]
      const [answer, which] = await run('reserve', tenant, period, operands, signal)
      if (answer === -1) return 'not loaded'
      if (answer === 1) return 'held'
      return which === 1 ? 'day' : 'month'
    },
    async commit(tenant: string, period: Period, id: string, nano: number): Promise<void> {
      await run('commit', tenant, period, [id, nano])
    },
    async release(tenant: string, period: Period, id: string): Promise<void> {
      await run('release', tenant, period, [id])
    },
    async renew(tenant: string, period: Period, holds: readonly { id: string; nano: number }[]): Promise<void> {
      await run(
        'renew',
        tenant,
        period,
        holds.flatMap(({ id, nano }) => [id, nano]),
      )
    },
    async load(tenant: string, period: Period, { month, days }: MonthSpend): Promise<void> {
      await run('load', tenant, period, [month, ...Object.entries(days).flat()])
    },
    /** @returns undefined for a month whose checkpoint is not loaded */
    async look(
      tenant: string,
      period: Period,
      signal?: AbortSignal,
    ): Promise<(MonthSpend & { held: number }) | undefined> {
      const [loaded, held, ...fields] = await run('look', tenant, period, [], signal)
      if (loaded !== 1) return undefined
      const spend = { month: 0, days: {} as Record<string, number>, held: Number(held) }
      for (let at = 0; at < fields.length; at += 2) {
        const [kind, name = ''] = String(fields[at]).split(':')
        if (kind === 'month') spend.month = Number(fields[at + 1])
        else spend.days[name] = Number(fields[at + 1])
      }
      return spend
    },
  }
}

export type BudgetScript = ReturnType<typeof createBudgetScript>
