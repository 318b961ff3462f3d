import { type Admission, type Budgets, estimateTokens, type Grant, quotaOf } from '@sluice/admission'
import type { AnswerCache } from '@sluice/cache'
import type { Attempt, Deployment, PlatformConfig, RequestBody } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { connectionFailure, estimatedSpeechUsage, type ForwardClient, type Models } from '@sluice/models'
import type { Clock } from '@sluice/resilience'
import { cappedBody, type Route, type RouteRequest } from '@sluice/routing'
import type { Logger, Metrics } from '@sluice/telemetry'
import { AnswerTurns } from './answer-turns.ts'
import { createCallMetrics } from './call-metrics.ts'
import { type AttemptEnd, ForwardAttempt } from './forward-attempt.ts'
import { largerThan } from './failover.ts'
import { createForwardAccounts } from './forward-accounts.ts'
import { createForwardCache } from './forward-cache.ts'
import { createForwardCascade } from './forward-cascade.ts'
import { attemptOf, cacheReport, ForwardedReport } from './forward-report.ts'
import { limitsOf } from './forward-limits.ts'
import { createWaitingRoom, type Waiting, type WaitLimits } from './forward-room.ts'
import type { Forwarder, ForwardInput, ForwardReport, ForwardSink } from './forward-types.ts'
import { ForwardWatch } from './forward-watch.ts'
import { goesOn, type ResponsePins } from './response-pins.ts'
import type { Bound, RegionAffinity } from './region-affinity.ts'
import type { Steps } from './run-cascade.ts'
import { createSuspects } from './suspects.ts'

export interface ForwarderOptions {
  config: Pick<PlatformConfig, 'routing' | 'deployments' | 'tenants' | 'prices'>
  routing: { decide(request: RouteRequest): Route }
  admission: Admission
  client: ForwardClient
  /** Absent: tenants spend what they like. */
  budgets?: Budgets | undefined
  /** Absent: every request runs, whatever its `cache` says. */
  cache?: AnswerCache | undefined
  /** Absent: conversations go where there is room. */
  affinity?: RegionAffinity | undefined
  /** Absent: requests that go on from a response are routed like others. */
  pins?: ResponsePins | undefined
  /** Calls whose answers are judged before they are given; absent: no cascades. */
  models?: Models | undefined
  /** See createDeploymentCaller; absent: nobody watches for evictions. */
  evictionOf?: ((deployment: string) => AbortSignal | undefined) | undefined
  logger: Logger
  metrics: Metrics
  clock: Clock
  limits: WaitLimits & {
    /** How long a caller may not read before it is taken for gone. */
    stallMs: number
  }
}

const closeMs = 2_000
// About a millisecond of work.
const answersPerTurn = 8

/** One request's way, as far as it has come. */
interface Run {
  input: ForwardInput
  sink: ForwardSink
  route: Route
  tokens: number
  attempts: Attempt[]
  waiting: Waiting
  deadline: number
  /** What answers have cost, those that were not used included. */
  spentUsd: number
}

/** What routing balances by; how full deployments are is looked up where there are several to balance. */
class LiveBalance {
  readonly affinity: readonly string[] | undefined
  readonly home: readonly string[] | undefined
  readonly turn: number
  readonly #look: () => ReadonlyMap<string, number>

  constructor(look: () => ReadonlyMap<string, number>, bound: Bound | undefined, turn: number) {
    this.affinity = bound?.last === undefined ? undefined : [bound.last]
    this.home = bound?.home
    this.turn = turn
    this.#look = look
  }

  get utilisation(): ReadonlyMap<string, number> {
    return this.#look()
  }
}

/** What a try of one deployment came to; undefined: somebody else may be asked. */
type Tried = { report: ForwardReport } | { error: AppError }

export function createForwarder(options: ForwarderOptions): Forwarder {
  const { config, routing, admission, client, affinity, pins, logger, clock, limits } = options
  const counted = createCallMetrics(options.metrics)
  const failovers = options.metrics.counter({
    name: 'sluice_gateway_failovers_total',
    help: 'Synchronous calls given to another deployment before any output',
    labels: ['deployment'],
  })
  const quotas = new Map(config.deployments.map((deployment) => [deployment.name, quotaOf(deployment)]))
  const waitingRoom = createWaitingRoom({ admission, clock, limits })
  const watch = new ForwardWatch(clock)
  const suspects = createSuspects(clock)
  const turns = new AnswerTurns(answersPerTurn)
  const accounts = createForwardAccounts(options)
  const cached = createForwardCache(options.cache)
  const cascade =
    options.models === undefined ? undefined : createForwardCascade({ ...options, models: options.models })
  const names = config.deployments.map(({ name }) => name)
  const utilisation = () => admission.utilisation(names)
  let draining = false
  let turn = 0

  const aborted = (run: Run): ForwardReport => new ForwardedReport(run, 'aborted')

  const call = async (run: Run, deployment: Deployment, grant: Grant): Promise<Tried> => {
    const { input, sink, route, deadline } = run
    const { url, payload, requestId, traceparent } = input
    const started = clock.monotonic()
    const attempt = new ForwardAttempt({
      deployment,
      url,
      sink,
      head: { score: route.score, limits: limitsOf(grant.tenantLeft, input) },
      stripUsage: payload.stripUsage,
      keptBytes: cached.keptBytes(input),
      onResponseId: url === '/v1/responses' ? (id) => pins?.made(input.tenant, id, deployment.name) : undefined,
      turns,
      clock,
      timeoutMs: Math.min(deployment.timeout_ms, deadline - clock.now()),
      stallMs: limits.stallMs,
    })
    watch.add(attempt)
    const eviction = options.evictionOf?.(deployment.name)
    const giveUp = eviction === undefined ? undefined : () => attempt.fail(eviction.reason as AppError)
    if (giveUp !== undefined) eviction?.addEventListener('abort', giveUp)
    let end: AttemptEnd
    try {
      const body = payload.bytes(deployment.azure_name ?? deployment.name, capOf(run, deployment))
      if (body === undefined) throw new AppError('model_unavailable', 'The upload was lost with its deployment.')
      client.send(deployment, { url, body, contentType: payload.contentType, requestId, traceparent }, attempt)
      end = await attempt.done
    } catch (error) {
      end = { kind: 'refused', error: error instanceof AppError ? error : connectionFailure(deployment.name, error) }
    }
    watch.delete(attempt)
    if (giveUp !== undefined) eviction?.removeEventListener('abort', giveUp)
    const ms = clock.monotonic() - started
    const { status, firstByteMs, remainingTokens } = attempt
    const failure = end.kind === 'refused' || end.kind === 'broken' ? end.error : undefined
    const outcome = end.kind === 'answered' ? 'ok' : (failure?.code ?? 'aborted')
    const told = end.kind === 'answered' || end.kind === 'broken' ? end.usage : undefined
    const ownFault = failure !== undefined && suspects.isToBlame(deployment.name, input.tenant, status, run.attempts)
    const retryAfterMs = failure?.retryAfterMs
    grant.end({ outcome: ownFault ? 'aborted' : outcome, ms, firstByteMs, retryAfterMs, remainingTokens, usage: told })
    if (end.kind === 'answered') suspects.answered(deployment.name, input.tenant)
    run.attempts.push(attemptOf(deployment, status, ms, failure))
    counted.called(deployment, outcome, ms)
    if (end.kind === 'refused') {
      if (failure?.code === 'model_rate_limited') {
        run.waiting.coolMs = Math.min(run.waiting.coolMs, failure.retryAfterMs ?? usualCoolDownMs)
      }
      const fields = { requestId, tenant: input.tenant, deployment: deployment.name, code: end.error.code, ms }
      logger.warn(fields, 'a deployment did not answer')
      return { error: end.error }
    }
    const spoken = url === '/v1/audio/speech' && end.kind === 'answered'
    const usage = told ?? (spoken ? estimatedSpeechUsage(input.body) : undefined)
    const costUsd = usage === undefined ? 0 : accounts.paid(input, deployment, usage, attempt.answeredBy)
    if (usage !== undefined) counted.spent(deployment, usage, costUsd)
    run.spentUsd += costUsd
    if (end.kind === 'answered' && end.whole !== undefined && usage !== undefined) {
      cached.keep(input, deployment, end.whole, usage, costUsd)
    }
    return { report: new ForwardedReport(run, end.kind, deployment, usage, costUsd, failure) }
  }

  const attempts = async (run: Run): Promise<ForwardReport> => {
    const { input, sink, route, waiting } = run
    let groups = [route.candidates, route.fallbacks]
    let candidates = groups[0] ?? []
    let afterCooling = route.candidates
    let last: AppError | undefined
    for (;;) {
      if (sink.closed) return aborted(run)
      if (draining) throw shuttingDown()
      if (run.deadline <= clock.now()) throw new AppError('deadline_exceeded', 'The deadline has passed.')
      if (candidates.length === 0) {
        groups.shift()
        if (waiting.coolMs < Infinity) {
          // Every deployment of the tier refused with a 429: that is being full, not failing.
          const ms = waiting.coolMs
          waiting.coolMs = Infinity
          await waitingRoom.wait(ms, false, sink, waiting)
          groups.unshift(afterCooling)
        }
        candidates = groups[0] ?? []
        if (candidates.length === 0) throw last ?? new AppError('no_capacity', 'No deployment can take the request.')
        continue
      }
      const room = await waitingRoom.enter(
        {
          candidates: candidates.map((one) => quotas.get(one.name) ?? quotaOf(one)),
          tokens: run.tokens,
          tenant: input.shares,
          priority: input.options?.priority,
        },
        sink,
        waiting,
      )
      if (room.kind === 'gone') return aborted(run)
      if (room.kind === 'never' || room.kind === 'failing') {
        last ??= room.kind === 'never' ? tooLarge(run.tokens) : outOfOrder(room.afterMs)
        candidates = []
        continue
      }
      const deployment = candidates.find(({ name }) => name === room.deployment)
      if (deployment === undefined)
        throw new AppError('internal', `admission granted ${room.deployment}, not asked for`)
      const tried = await call(run, deployment, room)
      if ('report' in tried) return tried.report
      const isTooLong = tried.error.code === 'context_length_exceeded'
      const larger = isTooLong ? largerThan(deployment, [...candidates, ...groups.slice(1).flat()]) : []
      if (tried.error.disposition !== 'fail_over' && larger.length === 0) throw tried.error
      failovers.inc({ deployment: deployment.name })
      last = tried.error
      candidates = candidates.filter((one) => one !== deployment)
      if (isTooLong) {
        groups = [larger]
        candidates = afterCooling = larger
      }
    }
  }

  /** @returns undefined when nobody could answer now: there may be room in a moment, or deployments that it left out */
  const climb = async (run: Run, steps: Steps): Promise<ForwardReport | undefined> => {
    const { input, sink, route, deadline } = run
    if (draining) throw shuttingDown()
    const end = await cascade?.answer(input, sink, { route, steps, deadline })
    if (end === undefined) return undefined
    if (end.kind === 'later') {
      run.attempts.push(...end.attempts)
      if (end.reason !== 'failing') return undefined
      const failed = new Set(end.attempts.map(({ deployment }) => deployment))
      const untried = (some: readonly Deployment[]) => some.filter(({ name }) => !failed.has(name))
      run.route = { ...route, candidates: untried(route.candidates), fallbacks: untried(route.fallbacks) }
      if (run.route.candidates.length + run.route.fallbacks.length === 0) throw outOfOrder(end.afterMs)
      return undefined
    }
    run.spentUsd = end.kind === 'refused' ? end.costUsd : end.report.costUsd
    if (end.kind === 'refused') throw end.error
    if (end.answer !== undefined) {
      const { deployment, bytes, usage, costUsd } = end.answer
      cached.keep(input, deployment, { bytes, contentType: 'application/json' }, usage, costUsd)
    }
    return end.report
  }

  return {
    async forward(input, sink) {
      if (draining) throw shuttingDown()
      const { url, body, options, tenant } = input
      const looked = cached.answer(input, sink)
      const hit = looked === undefined ? undefined : await looked
      if (hit !== undefined) return cacheReport(hit)
      const named = options?.deadline === undefined ? Infinity : Date.parse(options.deadline)
      const deadline = input.deadline ?? named
      const patienceMs = Math.min(limits.waitMs, deadline - clock.now())
      const { conversation } = input
      const bound = conversation === undefined ? undefined : await affinity?.find(tenant, conversation)
      const balance = new LiveBalance(utilisation, bound, turn++)
      const decided = routing.decide({ url, body, options, config, tenant, balance })
      const route = pins !== undefined && goesOn(url, body) ? await pins.follow(tenant, body, decided) : decided
      const steps = cascade?.steps(input, route, deadline)
      const asked = accounts.setAside(input, route)
      const hold = asked === undefined ? undefined : await asked
      const run: Run = {
        input,
        sink,
        route,
        tokens: tokensOf(body, url),
        attempts: [],
        waiting: { until: clock.monotonic() + patienceMs, waitedMs: 0, coolMs: Infinity },
        deadline,
        spentUsd: 0,
      }
      try {
        const cascaded = steps === undefined ? undefined : await climb(run, steps)
        const answered = cascaded ?? (await attempts(run))
        if (bound !== undefined && answered.outcome === 'answered' && answered.deployment !== undefined) {
          affinity?.answered(bound, route, answered.deployment.region)
        }
        return answered
      } finally {
        accounts.settle(hold, tenant, run.spentUsd)
      }
    },
    get inFlight() {
      return watch.size + (cascade?.inFlight ?? 0)
    },
    interrupt() {
      draining = true
      waitingRoom.close(shuttingDown())
      for (const one of watch) (one as ForwardAttempt).fail(shuttingDown())
      cascade?.interrupt(shuttingDown())
    },
    close: () => client.close(closeMs),
  }
}

const usualCoolDownMs = 1_000

/** The field that limits the answer to what `max_cost_usd` pays for, where it does not pay for everything. */
function capOf({ input, route }: Run, { name }: Deployment): Readonly<Record<string, unknown>> {
  const cap = route.outputCaps.get(name)
  if (cap === undefined) return {}
  const capped = cappedBody(input.body, input.url, cap)
  return Object.fromEntries(Object.entries(capped).filter(([field, value]) => input.body[field] !== value))
}

const shuttingDown = () =>
  new AppError('shutting_down', 'The server is restarting; please retry.', { retryAfterMs: 1_000 })

const outOfOrder = (retryAfterMs: number) =>
  new AppError('model_unavailable', 'Every deployment that may answer is out of order.', { status: 503, retryAfterMs })

const tooLarge = (tokens: number) =>
  new AppError('no_route', `The request may take ${tokens} tokens, more than any deployment allows in a minute.`)

/** Of speech the provider counts its text; a recording's tokens nobody knows before it is heard. */
function tokensOf(body: RequestBody, url: ForwardInput['url']): number {
  switch (url) {
    case '/v1/audio/speech':
      return estimateTokens(body, '/v1/embeddings')
    case '/v1/audio/transcriptions':
    case '/v1/realtime':
      return 1
    default:
      return estimateTokens(body, url)
  }
}
