import type { Budget } from '@sluice/contracts'
import type { Clock, Timer } from '@sluice/resilience'
import { type Period, toNano } from './budget-periods.ts'
import type { BudgetScript } from './budget-script.ts'

interface Spending {
  tenant: string
  period: Period
}

interface BudgetOutageOptions {
  script: BudgetScript
  clock: Clock
  logger: { info(fields: object, message: string): void; warn(fields: object, message: string): void }
  share: number
  retryMs: number
  onCharged: (at: Spending) => void
}

// Of a day's budget, over all workers together: enough to bridge a restart of Redis, too little to matter.
const allowedPart = 0.05
const daysPerMonth = 30

/**
 * Budgets while they cannot be asked: each worker lets a tenant spend its part of a small allowance, remembers what was
 * spent, and charges it when Redis is back.
 */
export class BudgetOutage {
  readonly #options: BudgetOutageOptions
  readonly #allowed = new Map<string, number>()
  #owed: (Spending & { nano: number })[] = []
  #ongoing = false
  #closed = false
  #retry: Timer | undefined

  constructor(options: BudgetOutageOptions) {
    this.#options = options
  }

  get ongoing(): boolean {
    return this.#ongoing
  }

  readonly enter = (error: unknown): void => {
    if (this.#ongoing || this.#closed) return
    this.#ongoing = true
    this.#options.logger.warn({ err: error }, 'budgets cannot be asked: a small allowance is left to each tenant')
    this.#arm()
  }

  /** Takes the estimate from the tenant's allowance, which is whole again once its budget could be asked. */
  allows({ tenant, nano }: { tenant: string; nano: number }, { day_usd, month_usd = Infinity }: Budget): boolean {
    const dayUsd = Math.min(day_usd ?? Infinity, month_usd / daysPerMonth)
    const used = (this.#allowed.get(tenant) ?? 0) + nano
    if (used > toNano(dayUsd * allowedPart * this.#options.share)) return false
    this.#allowed.set(tenant, used)
    return true
  }

  /** The tenant's budget was asked. */
  over(tenant: string): void {
    this.#allowed.delete(tenant)
  }

  owe({ tenant, period }: Spending, nano: number): void {
    if (nano === 0) return
    const same = this.#owed.find((one) => one.tenant === tenant && one.period.day === period.day)
    if (same) same.nano += nano
    else this.#owed.push({ tenant, period, nano })
  }

  close(): void {
    this.#closed = true
    this.#retry?.cancel()
  }

  #arm(): void {
    if (this.#closed) return
    this.#retry = this.#options.clock.setTimeout(() => void this.#tryAgain(), this.#options.retryMs)
  }

  async #tryAgain(): Promise<void> {
    const { script, clock, logger, onCharged } = this.#options
    try {
      // Asking changes nothing, so that a Redis that is still away cannot leave it unknown whether a debt was charged.
      await script.look('', { day: '', month: '' })
    } catch {
      this.#arm()
      return
    }
    const debts = this.#owed
    this.#owed = []
    this.#ongoing = false
    logger.info({ debts: debts.length }, 'budgets can be asked again')
    for (const { tenant, period, nano } of debts) {
      const id = `outage-${clock.monotonic()}`
      await script.commit(tenant, period, id, nano).then(() => onCharged({ tenant, period }), this.enter)
    }
  }
}
