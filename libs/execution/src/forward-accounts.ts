import type { BudgetHold, Budgets } from '@sluice/admission'
import type { Deployment, LineUrl, PlatformConfig, Usage } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { ModelAnswer } from '@sluice/models'
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
    /** @throws AppError `budget_exceeded` with the time until the period ends */
    async setAside(
      { tenant, body, url }: ForwardInput,
      { candidates: [first] }: Route,
    ): Promise<BudgetHold | undefined> {
      const budget = Object.hasOwn(config.tenants, tenant) ? config.tenants[tenant]?.budget : undefined
      if (budgets === undefined || first === undefined) return undefined
      if (budget?.day_usd === undefined && budget?.month_usd === undefined) return undefined
      // A recording's price is known when it has been heard.
      const estimateUsd = isLineUrl(url) ? expectedCostUsd(first, body, url) : 0
      const reserved = await budgets.reserve({ tenant, estimateUsd, budget })
      if (reserved.kind === 'held') return reserved.hold
      const { period, resetsInMs } = reserved
      throw new AppError('budget_exceeded', `The budget of this ${period} is spent.`, { retryAfterMs: resetsInMs })
    },

    /** @param answeredBy the model that the answer names, where the deployment is a model-router. @returns its cost */
    paid({ tenant, url }: ForwardInput, deployment: Deployment, usage: Usage, answeredBy: string | undefined): number {
      const answer: Pick<ModelAnswer, 'body' | 'usage'> = { body: { model: answeredBy }, usage }
      const { model, costUsd } = accounts.priced(deployment, answer as ModelAnswer)
      const alwaysLargeUsd = isLineUrl(url) ? accounts.alwaysLargeUsd(usage, url, costUsd) : costUsd
      accounts.sold({ tenant, model, usage, costUsd, wasteUsd: 0, alwaysLargeUsd })
      return costUsd
    },
  }
}

const isLineUrl = (url: ForwardInput['url']): url is LineUrl => !url.startsWith('/v1/audio') && url !== '/v1/realtime'
