import type { Budget } from '@sluice/contracts'

/** Money set aside for work that is about to run. Its lease is renewed until it ends; a crash gives it back. */
export interface BudgetHold {
  /**
   * The work is over and cost this much, which may be more than was held, or nothing. Charged to the day and month in
   * which it was reserved. Every hold is ended exactly once, by this or by `release`; a second call does nothing.
   * Never throws, never waits.
   */
  commit(actualUsd: number): void
  /** The work did not happen, or cost nothing. */
  release(): void
}

export type BudgetReservation =
  | { kind: 'held'; hold: BudgetHold }
  /** The period has not that much left; `resetsInMs` is when it ends, which is when asking again makes sense. */
  | { kind: 'refused'; period: 'day' | 'month'; resetsInMs: number }

/** What a tenant has spent in the running day and month (UTC), over all workers and doors. */
export interface Spend {
  dayUsd: number
  monthUsd: number
  /** Set aside for what runs now. */
  heldUsd: number
}

/** What tenants spend, counted over all workers that share a Redis and a database. */
export interface Budgets {
  /**
   * Sets `estimateUsd` aside if the tenant's budgets leave that much. A tenant without a budget is never refused, and
   * what it commits is counted all the same.
   * @throws the signal's reason when it aborts first; nothing else.
   */
  reserve(input: {
    tenant: string
    estimateUsd: number
    budget: Budget
    signal?: AbortSignal | undefined
  }): Promise<BudgetReservation>
  /**
   * Counts what a call of a tenant without a budget cost. Gathered for a second: where nothing is limited, a command of
   * Redis for each call buys nothing. A crash forgets that second. Never throws, never waits.
   */
  count(tenant: string, usd: number): void
  /** @throws AppError `storage_unavailable` when neither Redis nor, after a flush, the database can tell. */
  spend(tenant: string, signal?: AbortSignal): Promise<Spend>
  /** Writes the last checkpoints and stops renewing. */
  close(): Promise<void>
}
