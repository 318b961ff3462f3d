import type { Admission, BudgetHold, Budgets, TenantShare } from '@sluice/admission'
import type { AnswerCache } from '@sluice/cache'
import type { Deployment, PlatformConfig, TenantConfig } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Models } from '@sluice/models'
import type { Clock } from '@sluice/resilience'
import { cappedBody, cascadeSteps, expectedCostUsd, outputCap, type Route, type RouteRequest } from '@sluice/routing'
import type { Logger, Metrics } from '@sluice/telemetry'
import { createAccounts } from './accounts.ts'
import { createDeploymentCaller } from './call-deployment.ts'
import { createCallMetrics } from './call-metrics.ts'
import { createCachedAnswers } from './cached-answers.ts'
import { climb, type Climbed } from './cascade.ts'
import type { Execution, Outcome, RunInput } from './execution-types.ts'
import { createFailover, type Reached, type Run } from './failover.ts'
import { type Answered, Journal } from './journal.ts'
import type { RegionAffinity } from './region-affinity.ts'

export interface ExecutionOptions {
  config: Pick<PlatformConfig, 'routing' | 'deployments'> & Partial<Pick<PlatformConfig, 'tenants' | 'prices'>>
  routing: { decide(request: RouteRequest): Route }
  admission: Admission
  models: Models
  /** Absent: tenants spend what they like. */
  budgets?: Budgets | undefined
  /** Absent: every request runs, whatever its `cache` says. */
  cache?: AnswerCache | undefined
  /** Absent: conversations go where there is room. */
  affinity?: RegionAffinity | undefined
  logger: Logger
  metrics: Metrics
  clock: Clock
}

export function createExecution(options: ExecutionOptions): Execution {
  const { config, routing, admission, models, budgets, affinity, clock } = options
  const counted = createCallMetrics(options.metrics)
  const accounts = createAccounts({ config, metrics: options.metrics })
  const cached = createCachedAnswers({ cache: options.cache, accounts })
  const call = createDeploymentCaller({ models, counted, logger: options.logger, clock })
  const reach = createFailover({ config, admission, call, clock })
  const names = config.deployments.map(({ name }) => name)
  let turn = 0

  const tenantOf = (tenant: string): TenantConfig | undefined =>
    config.tenants !== undefined && Object.hasOwn(config.tenants, tenant) ? config.tenants[tenant] : undefined

  const routeFor = async (input: RunInput): Promise<Route> => {
    const { url, body, options: hints, tenant, priority } = input
    const conversation = hints?.conversation
    const region = conversation === undefined ? undefined : await affinity?.regionOf(tenant, conversation)
    const balance = {
      utilisation: admission.utilisation(names),
      affinity: region === undefined ? [] : [region],
      turn: turn++,
    }
    return routing.decide({ url, body, options: hints, config, tenant, priority, balance })
  }

  const runOf = (input: RunInput, journal: Journal, signal: AbortSignal): Run => {
    const named = input.options?.deadline
    const priority = input.options?.priority ?? input.priority
    const deadline = input.deadline ?? (named === undefined ? Infinity : Date.parse(named))
    const shares = input.shares ?? sharesOf(input.tenant, tenantOf(input.tenant))
    return { input, journal, deadline, priority, shares, signal }
  }

  /** Money for the call, when the tenant has a budget: the estimate now, what it cost afterwards. */
  const setAside = async (input: RunInput, route: Route, signal: AbortSignal): Promise<BudgetHold | undefined> => {
    const { tenant, body, url } = input
    const budget = tenantOf(tenant)?.budget
    const [first] = route.candidates
    if (budgets === undefined || first === undefined) return undefined
    if (budget?.day_usd === undefined && budget?.month_usd === undefined) return undefined
    const estimateUsd = expectedCostUsd(first, body, url)
    const reserved = await budgets.reserve({ tenant, estimateUsd, budget, signal })
    if (reserved.kind === 'held') return reserved.hold
    const { period, resetsInMs } = reserved
    throw new AppError('budget_exceeded', `The budget of this ${period} is spent.`, { retryAfterMs: resetsInMs })
  }

  const paid = (run: Run, { deployment, answer }: Extract<Reached, { kind: 'answered' }>): Answered => {
    const answered = { deployment, answer, ...accounts.priced(deployment, answer) }
    counted.spent(deployment, answer.usage, answered.costUsd)
    run.journal.paid(answered)
    return answered
  }

  const pursue = async (run: Run, route: Route): Promise<Climbed> => {
    const { input, journal } = run
    const streamed = input.onDelta !== undefined && input.body.stream === true
    const steps = mayCascade(input, streamed)
      ? cascadeSteps({
          route,
          cascade: config.routing.cascade,
          enabled: tenantOf(input.tenant)?.cascade,
          slackMs: run.deadline - clock.now(),
        })
      : undefined
    const limit = input.options?.max_cost_usd
    // What the answers before it cost counts against the limit too.
    const capOf = (one: Deployment) =>
      limit === undefined ? undefined : outputCap(one, input.body, input.url, limit - journal.costUsd)
    const bodyFor = (one: Deployment) => cappedBody(input.body, input.url, capOf(one))
    if (steps === undefined) {
      const reached = await reach({ ...route, bodyFor, streamed }, run)
      return reached.kind === 'answered'
        ? { kind: 'answered', answered: paid(run, reached), escalated: false }
        : reached
    }
    const { confidence, agreement } = config.routing.cascade
    const climbed = await climb({
      run,
      steps,
      score: route.score ?? 0,
      confidence,
      agreement: agreement && limit === undefined,
      affordable: (step) => step.filter((one) => capOf(one) !== 0),
      bodyFor,
      reach: (plan) => reach(plan, run),
      paid: (reached) => paid(run, reached),
    })
    if (climbed.kind === 'answered') counted.cascaded(climbed.escalated)
    return climbed
  }

  const settle = (run: Run, end: Climbed): Outcome => {
    const { input, journal } = run
    if (end.kind === 'later') {
      counted.later(end.reason)
      return journal.later(end.afterMs, end.reason)
    }
    if (end.kind === 'failed') {
      accounts.lost(journal.costUsd)
      return journal.failed(end.error)
    }
    const { answered, escalated } = end
    const { usage } = answered.answer
    const outcome = journal.succeeded(answered, accounts.alwaysLargeUsd(usage, input.url, answered.costUsd), escalated)
    const { costUsd, wasteUsd, alwaysLargeUsd } = outcome
    accounts.sold({ tenant: input.tenant, model: answered.model, usage, costUsd, wasteUsd, alwaysLargeUsd })
    const conversation = input.options?.conversation
    if (conversation !== undefined) affinity?.remember(input.tenant, conversation, answered.deployment.region)
    cached.keep(input, answered)
    return outcome
  }

  return {
    async run(input, signal) {
      const journal = new Journal()
      const found = await cached.lookup(input, journal, signal)
      if (found !== undefined) return found
      let route: Route
      let hold: BudgetHold | undefined
      try {
        route = await routeFor(input)
        journal.routed(route)
        hold = await setAside(input, route, signal)
      } catch (error) {
        if (error instanceof AppError && isAboutRequest(error) && !signal.aborted) return journal.failed(error)
        throw error
      }
      try {
        const run = runOf(input, journal, signal)
        return settle(run, await pursue(run, route))
      } catch (error) {
        accounts.lost(journal.costUsd)
        throw error
      } finally {
        if (journal.costUsd > 0) hold?.commit(journal.costUsd)
        else hold?.release()
      }
    },
  }
}

/** What is the request's own fault, or its tenant's limit, ends as its result. */
const isAboutRequest = ({ code, disposition }: AppError): boolean =>
  disposition === 'reject' || disposition === 'fail' || code === 'budget_exceeded'

/** A second answer cannot follow a stream, choices are not judged one by one, and a stored response lives on one deployment. */
const mayCascade = ({ body }: RunInput, streamed: boolean): boolean =>
  !streamed && (body.n ?? 1) === 1 && typeof body.previous_response_id !== 'string'

function sharesOf(name: string, tenant: TenantConfig | undefined): readonly TenantShare[] | undefined {
  const limits = tenant?.limits
  if (limits === undefined || Object.values(limits).every((limit) => limit === undefined)) return undefined
  return [
    {
      name,
      requestsPerMinute: limits.requests_per_minute,
      tokensPerMinute: limits.tokens_per_minute,
      concurrency: limits.concurrency,
    },
  ]
}
