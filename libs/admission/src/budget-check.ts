import type { PlatformConfig } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import type { Budgets, Spend } from './budget-types.ts'

/**
 * Refuses what would only wait in a queue for money. What runs is held to the budget by its reservation; this looks at
 * what is spent already, about a second old.
 * @throws AppError `budget_exceeded` with the time until the period ends
 */
export type BudgetCheck = (tenant: string) => Promise<void>

const believedMs = 1_000
const spendDeadlineMs = 2_000

export function createBudgetCheck(options: {
  config: Pick<PlatformConfig, 'tenants'>
  budgets: Pick<Budgets, 'spend'>
  clock: Clock
}): BudgetCheck {
  const { config, budgets, clock } = options
  // Bounded by the configuration: only tenants with a budget are looked up.
  const known = new Map<string, { spend: Promise<Spend | undefined>; until: number }>()

  const spendOf = (tenant: string): Promise<Spend | undefined> => {
    const cached = known.get(tenant)
    if (cached !== undefined && cached.until > clock.monotonic()) return cached.spend
    // Nobody knows: the reservation before the call will.
    const spend = budgets.spend(tenant, AbortSignal.timeout(spendDeadlineMs)).catch(() => undefined)
    known.set(tenant, { spend, until: clock.monotonic() + believedMs })
    return spend
  }

  return async (tenant) => {
    const { day_usd, month_usd } = config.tenants[tenant]?.budget ?? {}
    if (day_usd === undefined && month_usd === undefined) return
    const spend = await spendOf(tenant)
    if (spend === undefined) return
    const now = new Date(clock.now())
    if (month_usd !== undefined && spend.monthUsd >= month_usd) {
      throw used('month', Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1) - clock.now())
    }
    if (day_usd !== undefined && spend.dayUsd >= day_usd) {
      throw used('day', Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() + 1) - clock.now())
    }
  }
}

const used = (period: string, retryAfterMs: number) =>
  new AppError('budget_exceeded', `This tenant's budget of the ${period} is used up.`, { retryAfterMs })
