import type { BudgetHold, Budgets } from '@sluice/admission'
import type { Deployment, PlatformConfig, RequestBody, Usage } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { costUsd, estimatedSpeechUsage, type ModelAnswer } from '@sluice/models'
import { expectedCostUsd, type Route } from '@sluice/routing'
import type { Metrics } from '@sluice/telemetry'
import { createAccounts } from './accounts.ts'
import type { ForwardInput } from './forward-types.ts'

/** The money of synchronous calls: set aside before, counted after. */
export function createForwardAccounts(options: {
  config: Pick<PlatformConfig, 'deployments' | 'tenants' | 'prices'>
  budgets?: Budgets | undefined
  metrics: Metrics
}) {
  const { config, budgets } = options
  const accounts = createAccounts(options)

  return {
    /**
     * @returns undefined, at once, for a tenant without a budget
     * @throws AppError `budget_exceeded` with the time until the period ends
     */
    setAside({ tenant, body, url }: ForwardInput, { candidates: [first] }: Route): Promise<BudgetHold> | undefined {
      const budget = Object.hasOwn(config.tenants, tenant) ? config.tenants[tenant]?.budget : undefined
      if (budgets === undefined || first === undefined) return undefined
      if (budget?.day_usd === undefined && budget?.month_usd === undefined) return undefined
      return reserve(budgets, { tenant, estimateUsd: estimate(first, body, url), budget })
    },

    /** The call is over: what it cost is charged to its hold, or counted for a tenant without a budget. */
    settle(hold: BudgetHold | undefined, tenant: string, spentUsd: number): void {
      if (spentUsd <= 0) hold?.release()
      else if (hold === undefined) budgets?.count(tenant, spentUsd)
      else hold.commit(spentUsd)
    },

    /** @param answeredBy the model that the answer names, where the deployment is a model-router. @returns its cost */
    paid({ tenant, url }: ForwardInput, deployment: Deployment, usage: Usage, answeredBy: string | undefined): number {
      const answer: Pick<ModelAnswer, 'body' | 'usage'> = { body: { model: answeredBy }, usage }
      const { model, costUsd } = accounts.priced(deployment, answer as ModelAnswer)
      const alwaysLargeUsd = isOfText(url) ? accounts.alwaysLargeUsd(usage, url, costUsd) : costUsd
      accounts.sold({ tenant, model, usage, costUsd, wasteUsd: 0, alwaysLargeUsd })
      return costUsd
    },
  }
}

async function reserve(budgets: Budgets, ask: Parameters<Budgets['reserve']>[0]): Promise<BudgetHold> {
  const reserved = await budgets.reserve(ask)
  if (reserved.kind === 'held') return reserved.hold
  const { period, resetsInMs } = reserved
  throw new AppError('budget_exceeded', `The budget of this ${period} is spent.`, { retryAfterMs: resetsInMs })
}

function estimate(first: Deployment, body: RequestBody, url: ForwardInput['url']): number {
  if (url === '/v1/audio/speech') return costUsd(first.price, estimatedSpeechUsage(body))
  // A recording's price is known when it has been heard.
  return isOfText(url) ? expectedCostUsd(first, body, url) : 0
}

const isOfText = (url: ForwardInput['url']): boolean => !url.startsWith('/v1/audio') && url !== '/v1/realtime'
