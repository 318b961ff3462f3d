import type { Admission, BudgetHold, Budgets, TenantShare } from '@sluice/admission'
import type { AnswerCache } from '@sluice/cache'
import type { Limits, PlatformConfig, TenantConfig } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Models } from '@sluice/models'
import type { Clock } from '@sluice/resilience'
import { expectedCostUsd, type Route, type RouteRequest } from '@sluice/routing'
import type { Logger, Metrics } from '@sluice/telemetry'
import { createAccounts } from './accounts.ts'
import { createDeploymentCaller } from './call-deployment.ts'
import { createCallMetrics } from './call-metrics.ts'
import { createCachedAnswers } from './cached-answers.ts'
import type { Climbed } from './cascade.ts'
import type { Execution, Outcome, RunInput } from './execution-types.ts'
import { createFailover, type Run } from './failover.ts'
import { Journal } from './journal.ts'
import type { Bound, RegionAffinity } from './region-affinity.ts'
import { goesOn, type ResponsePins } from './response-pins.ts'
import { createCascade } from './run-cascade.ts'

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
  /** Absent: requests that go on from a response are routed like others. */
  pins?: ResponsePins | undefined
  /** See createDeploymentCaller; absent: nobody watches for evictions. */
  evictionOf?: ((deployment: string) => AbortSignal | undefined) | undefined
  logger: Logger
  metrics: Metrics
  clock: Clock
}

export function createExecution(options: ExecutionOptions): Execution {
  const { config, routing, admission, models, budgets, affinity, pins, clock } = options
  const counted = createCallMetrics(options.metrics)
  const accounts = createAccounts({ config, metrics: options.metrics })
  const cached = createCachedAnswers({ cache: options.cache, accounts })
  const call = createDeploymentCaller({
    models,
    evictionOf: options.evictionOf,
    counted,
    logger: options.logger,
    clock,
  })
  const reach = createFailover({ config, admission, call, clock })
  const cascade = createCascade({ config, reach, accounts, counted, pins, clock })
  const names = config.deployments.map(({ name }) => name)
  let turn = 0

  const tenantOf = (tenant: string): TenantConfig | undefined =>
    config.tenants !== undefined && Object.hasOwn(config.tenants, tenant) ? config.tenants[tenant] : undefined

  const boundTo = async ({ tenant, options: hints }: RunInput): Promise<Bound | undefined> =>
    hints?.conversation === undefined ? undefined : affinity?.find(tenant, hints.conversation)

  const routeFor = async (input: RunInput, bound: Bound | undefined): Promise<Route> => {
    const { url, body, options: hints, tenant, priority } = input
    const last = bound?.last
    const balance = {
      utilisation: admission.utilisation(names),
      affinity: last === undefined ? [] : [last],
      home: bound?.home,
      turn: turn++,
    }
    const route = routing.decide({ url, body, options: hints, config, tenant, priority, balance })
    return pins !== undefined && goesOn(url, body) ? pins.follow(tenant, body, route) : route
  }

  const runOf = (input: RunInput, journal: Journal, signal: AbortSignal): Run => {
    const named = input.options?.deadline
    const priority = input.options?.priority ?? input.priority
    const deadline = input.deadline ?? (named === undefined ? Infinity : Date.parse(named))
    const { tenant, keyLimits: key } = input
    const own = shareOf(tenant, tenantOf(tenant)?.limits)
    const shares = key === undefined ? own : [...own, ...shareOf(`${tenant}/${key.principal}`, key)]
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

  const pursue = async (run: Run, route: Route): Promise<Climbed> => {
    const { input, deadline } = run
    const streamed = input.onDelta !== undefined && input.body.stream === true
    // A second answer cannot follow a stream.
    const steps = streamed ? undefined : cascade.steps(route, input.body, tenantOf(input.tenant), deadline)
    if (steps !== undefined) return cascade.climb(run, route, steps)
    const reached = await reach({ ...route, bodyFor: (one) => cascade.bodyFor(run, one), streamed }, run)
    return reached.kind === 'answered'
      ? { kind: 'answered', answered: cascade.paid(run, reached), escalated: false }
      : reached
  }

  const settle = (run: Run, end: Climbed, route: Route, bound: Bound | undefined): Outcome => {
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
    if (bound !== undefined) affinity?.answered(bound, route, answered.deployment.region)
    cached.keep(input, answered)
    return outcome
  }

  return {
    async run(input, signal) {
      const journal = new Journal()
      const found = await cached.lookup(input, journal, signal)
      if (found !== undefined) return found
      const bound = await boundTo(input)
      let route: Route
      let hold: BudgetHold | undefined
      try {
        route = await routeFor(input, bound)
        journal.routed(route)
        hold = await setAside(input, route, signal)
      } catch (error) {
        if (error instanceof AppError && isAboutRequest(error) && !signal.aborted) return journal.failed(error)
        throw error
      }
      try {
        const run = runOf(input, journal, signal)
        return settle(run, await pursue(run, route), route, bound)
      } catch (error) {
        accounts.lost(journal.costUsd)
        throw error
      } finally {
        if (journal.costUsd <= 0) hold?.release()
        else if (hold === undefined) budgets?.count(input.tenant, journal.costUsd)
        else hold.commit(journal.costUsd)
      }
    },
  }
}

/** What is the request's own fault, or its tenant's limit, ends as its result. */
const isAboutRequest = ({ code, disposition }: AppError): boolean =>
  disposition === 'reject' || disposition === 'fail' || code === 'budget_exceeded'

/** Named as the synchronous path names it: both count alike. */
function shareOf(name: string, limits: Limits | undefined): readonly TenantShare[] {
  const { requests_per_minute, tokens_per_minute, concurrency } = limits ?? {}
  if (requests_per_minute === undefined && tokens_per_minute === undefined && concurrency === undefined) return []
  return [{ name, requestsPerMinute: requests_per_minute, tokensPerMinute: tokens_per_minute, concurrency }]
}
