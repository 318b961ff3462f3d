import type { Deployment, DeploymentUrl, PlatformConfig, Usage } from '@sluice/contracts'
import { costUsd, modelOf, priceOf, priceOfModel, type ModelAnswer } from '@sluice/models'
import type { Metrics } from '@sluice/telemetry'

export interface AccountsOptions {
  config: Pick<PlatformConfig, 'deployments'> & Partial<Pick<PlatformConfig, 'tenants' | 'prices'>>
  metrics: Metrics
}

/** An answer that was used, as the books see it. */
export interface Sale {
  tenant: string
  model: string
  usage: Usage
  /** Of the whole request, what was wasted included; 0 for one from the cache. */
  costUsd: number
  wasteUsd: number
  alwaysLargeUsd: number
}

/** Prices answers, and keeps the books: savings, waste and, where a tenant is sold to, its margin. */
export function createAccounts({ config, metrics }: AccountsOptions) {
  const { deployments, tenants = {}, prices = {} } = config
  const large = deployments.filter(({ tier }) => tier === 'large')
  const saved = metrics.gauge({
    name: 'sluice_execution_saved_usd',
    help: 'What answers would have cost on the large tier, less what their requests cost, waste included; since the start',
  })
  const wasted = metrics.counter({
    name: 'sluice_execution_wasted_usd_total',
    help: 'Cost of answers that were not used, in US dollars',
  })
  const revenue = metrics.counter({
    name: 'sluice_tenant_revenue_usd_total',
    help: 'Answers at the selling prices of tenants that have some, in US dollars',
    labels: ['tenant'],
  })
  const margin = metrics.gauge({
    name: 'sluice_tenant_margin_usd',
    help: 'Revenue less cost of tenants that have selling prices, in US dollars; since the start',
    labels: ['tenant'],
  })

  return {
    /** What an answer cost, and the model that it is from. */
    priced(deployment: Deployment, { body, usage }: ModelAnswer): { model: string; costUsd: number } {
      const answeredBy = modelOf(body)
      const price = priceOf(deployment, answeredBy, prices)
      const model = deployment.kind === 'model-router' ? (answeredBy ?? deployment.model) : deployment.model
      return { model, costUsd: costUsd(price, usage) }
    },

    /** What these tokens cost on the cheapest deployment of the large tier; `otherwise` where it has none for the url. */
    alwaysLargeUsd(usage: Usage, url: DeploymentUrl, otherwise: number): number {
      const costs = large.filter(({ urls }) => urls.includes(url)).map(({ price }) => costUsd(price, usage))
      return costs.length === 0 ? otherwise : Math.min(...costs)
    },

    sold({ tenant, model, usage, costUsd: cost, wasteUsd, alwaysLargeUsd }: Sale): void {
      saved.inc(alwaysLargeUsd - cost)
      if (wasteUsd > 0) wasted.inc(wasteUsd)
      const selling = Object.hasOwn(tenants, tenant) ? (tenants[tenant]?.prices ?? {}) : {}
      const price = priceOfModel(model, selling) ?? selling['*']
      if (price === undefined) return
      const amount = costUsd(price, usage)
      revenue.inc({ tenant }, amount)
      margin.inc({ tenant }, amount - cost)
    },

    /** A request that failed after answers that cost something. */
    lost(wasteUsd: number): void {
      if (wasteUsd <= 0) return
      wasted.inc(wasteUsd)
      saved.dec(wasteUsd)
    },
  }
}

export type Accounts = ReturnType<typeof createAccounts>
