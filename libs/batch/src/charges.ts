import type { Budgets } from '@sluice/admission'
import type { Logger } from '@sluice/telemetry'

/** What regional jobs cost, on its way to the tenants' budgets. */
export interface Charges {
  /** Never throws, never waits. @param usd what a part cost; called once a part */
  charge(tenant: string, usd: number): void
  /** Waits for what is under way. */
  settled(): Promise<void>
}

const deadlineMs = 5_000

/**
 * A job is not held to a budget while it runs, because what it will cost is known when it is over: from then on its
 * tenant has spent it, on every door. A charge that is lost is forgotten, as everywhere.
 */
export function createCharges({ budgets, logger }: { budgets: Pick<Budgets, 'reserve'>; logger: Logger }): Charges {
  const open = new Set<Promise<void>>()
  const carryOut = async (tenant: string, usd: number): Promise<void> => {
    const signal = AbortSignal.timeout(deadlineMs)
    // Without a limit nothing is refused.
    const room = await budgets.reserve({ tenant, estimateUsd: usd, budget: {}, signal })
    if (room.kind === 'held') room.hold.commit(usd)
  }
  return {
    charge(tenant, usd) {
      if (usd <= 0) return
      const charging = carryOut(tenant, usd)
        .catch((err: unknown) => logger.warn({ err, tenant, usd }, 'a part could not be charged'))
        .finally(() => open.delete(charging))
      open.add(charging)
    },
    settled: async () => void (await Promise.all(open)),
  }
}
