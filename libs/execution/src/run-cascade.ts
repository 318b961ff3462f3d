import type { Deployment, PlatformConfig, RequestBody, TenantConfig } from '@sluice/contracts'
import type { Clock } from '@sluice/resilience'
import { cappedBody, cascadeSteps, outputCap, type Route } from '@sluice/routing'
import type { Accounts } from './accounts.ts'
import type { createCallMetrics } from './call-metrics.ts'
import { climb, type Climbed } from './cascade.ts'
import type { Plan, Reached, Run } from './failover.ts'
import type { Answered } from './journal.ts'
import type { ResponsePins } from './response-pins.ts'

/** The tiers that a cascade asks, cheapest first. */
export type Steps = readonly (readonly Deployment[])[]

/** Cascades as queued and synchronous requests both run them, with what answers cost. */
export function createCascade(options: {
  config: Pick<PlatformConfig, 'routing'> & Partial<Pick<PlatformConfig, 'tenants'>>
  reach: (plan: Plan, run: Run) => Promise<Reached>
  accounts: Accounts
  counted: ReturnType<typeof createCallMetrics>
  pins?: ResponsePins | undefined
  clock: Clock
}) {
  const { config, reach, accounts, counted, pins, clock } = options

  /** Counts an answer's tokens and cost. */
  const paid = (run: Run, { deployment, answer, tenantLeft }: Extract<Reached, { kind: 'answered' }>): Answered => {
    const answered = { deployment, answer, tenantLeft, ...accounts.priced(deployment, answer) }
    counted.spent(deployment, answer.usage, answered.costUsd)
    run.journal.paid(answered)
    const { url, tenant } = run.input
    const id = url === '/v1/responses' ? (answer.body as { id?: unknown } | null)?.id : undefined
    if (typeof id === 'string') pins?.made(tenant, id, deployment.name)
    return answered
  }

  return {
    paid,

    /** @returns undefined when one call is to do */
    steps(route: Route, body: RequestBody, tenant: TenantConfig | undefined, deadline: number): Steps | undefined {
      // Choices are not judged one by one, and a stored response lives on one deployment.
      if ((body.n ?? 1) !== 1 || typeof body.previous_response_id === 'string') return undefined
      const { cascade } = config.routing
      return cascadeSteps({ route, cascade, enabled: tenant?.cascade, slackMs: deadline - clock.now() })
    },

    bodyFor,

    async climb(run: Run, route: Route, steps: Steps): Promise<Climbed> {
      const { confidence, agreement } = config.routing.cascade
      const climbed = await climb({
        run,
        steps,
        score: route.score ?? 0,
        confidence,
        agreement: agreement && run.input.options?.max_cost_usd === undefined,
        affordable: (step) => step.filter((one) => capOf(run, one) !== 0),
        bodyFor: (one) => bodyFor(run, one),
        reach: (plan) => reach(plan, run),
        paid: (reached) => paid(run, reached),
      })
      if (climbed.kind === 'answered') counted.cascaded(climbed.escalated)
      return climbed
    },
  }
}

/** The body for a deployment, its output limited to what is left of the request's `max_cost_usd`. */
const bodyFor = (run: Run, deployment: Deployment): RequestBody =>
  cappedBody(run.input.body, run.input.url, capOf(run, deployment))

// What the answers before it cost counts against the limit too.
function capOf({ input, journal }: Run, deployment: Deployment): number | undefined {
  const limit = input.options?.max_cost_usd
  return limit === undefined ? undefined : outputCap(deployment, input.body, input.url, limit - journal.costUsd)
}
