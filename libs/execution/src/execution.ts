import { type Admission, estimateTokens, type Grant, type Quota } from '@sluice/admission'
import type { Deployment, LineUrl, PlatformConfig, Usage } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { costUsd, type ModelAnswer, type Models, upstreamStatus } from '@sluice/models'
import { type Clock, fullJitter } from '@sluice/resilience'
import type { Route, RouteRequest } from '@sluice/routing'
import { type Logger, type Metrics, startSpan } from '@sluice/telemetry'
import { createCallMetrics } from './call-metrics.ts'
import type { Execution, Outcome, RunInput } from './execution-types.ts'
import { Journal } from './journal.ts'

export interface ExecutionOptions {
  config: Pick<PlatformConfig, 'routing' | 'deployments'>
  routing: { decide(request: RouteRequest): Route }
  admission: Admission
  models: Models
  logger: Logger
  metrics: Metrics
  clock: Clock
}

// A provider that says "retry in a day" means the call, not the deployment: after a window's length its view is new.
const longestCoolDownMs = 60_000
const usualCoolDownMs = 1_000
// "Retry at once" after a refusal would make this worker spin.
const shortestCoolDownMs = 10
const failingBackoff = fullJitter({ baseMs: 4_000, capMs: 4_000 })

/** What one call of one deployment came to. */
type Call = { kind: 'answered'; answer: ModelAnswer } | { kind: 'failed'; error: AppError }

export function createExecution(options: ExecutionOptions): Execution {
  const { config, routing, admission, models, logger, clock } = options
  const counted = createCallMetrics(options.metrics)
  const quotas = new Map(config.deployments.map((deployment) => [deployment.name, quotaOf(deployment)]))
  const large = config.deployments.filter((deployment) => deployment.tier === 'large')

  const alwaysLargeUsd = (usage: Usage, url: LineUrl, otherwise: number): number => {
    const costs = large.filter(({ urls }) => urls.includes(url)).map(({ price }) => costUsd(price, usage))
    return costs.length === 0 ? otherwise : Math.min(...costs)
  }

  const callOnce = async (
    deployment: Deployment,
    grant: Grant,
    input: RunInput,
    journal: Journal,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<Call> => {
    await input.onAttempt?.({ deployment: deployment.name, number: journal.attempts.length + 1 })
    const span = startSpan('model.call', { parent: input.traceparent, attributes: { deployment: deployment.name } })
    const started = clock.monotonic()
    const { url, body, requestId } = input
    try {
      const call = { url, body, requestId, traceparent: span.traceparent, timeoutMs }
      const answer = await models.call(deployment, call, signal)
      span.end()
      journal.attempted(deployment, answer.status, answer.ms)
      counted.called(deployment, 'ok', answer.ms)
      void admission.observed(grant, answer)
      return { kind: 'answered', answer }
    } catch (error) {
      span.end(error)
      signal.throwIfAborted()
      if (!(error instanceof AppError)) throw error
      const ms = clock.monotonic() - started
      journal.attempted(deployment, upstreamStatus(error), ms, error.code)
      counted.called(deployment, error.code, ms)
      const fields = { requestId, tenant: input.tenant, deployment: deployment.name, code: error.code, ms }
      logger.warn(fields, 'a deployment did not answer')
      return { kind: 'failed', error }
    }
  }

  const succeeded = (deployment: Deployment, answer: ModelAnswer, input: RunInput, journal: Journal): Outcome => {
    const cost = costUsd(deployment.price, answer.usage)
    counted.spent(deployment, answer.usage, cost)
    return journal.succeeded(deployment, answer, {
      costUsd: cost,
      alwaysLargeUsd: alwaysLargeUsd(answer.usage, input.url, cost),
    })
  }

  const later = (journal: Journal, afterMs: number, reason: 'full' | 'failing'): Outcome => {
    counted.later(reason)
    return journal.later(afterMs, reason)
  }

  return {
    async run(input, signal) {
      const { url, body } = input
      const journal = new Journal()
      const deadline = input.deadline ?? (input.options?.deadline ? Date.parse(input.options.deadline) : Infinity)
      let route: Route
      try {
        route = routing.decide({ url, body, options: input.options, config })
      } catch (error) {
        if (error instanceof AppError) return journal.failed(error)
        throw error
      }
      journal.routed(route)
      const tokens = estimateTokens(body, url)
      let candidates = route.candidates
      let fallbacks = route.fallbacks
      // The shortest wait that a 429 of this run named.
      let coolMs = Infinity

      for (;;) {
        signal.throwIfAborted()
        const timeoutMs = deadline - clock.now()
        if (timeoutMs <= 0) return journal.failed(new AppError('deadline_exceeded', 'The deadline has passed.'))
        if (candidates.length === 0) {
          if (coolMs < Infinity) return later(journal, coolMs, 'full')
          if (fallbacks.length === 0) return later(journal, 1_000 + failingBackoff(1), 'failing')
          candidates = fallbacks
          fallbacks = []
        }
        const room = await admission.reserve({
          candidates: candidates.map((one) => quotas.get(one.name) ?? quotaOf(one)),
          tokens,
          signal,
        })
        if (room.kind === 'never') {
          if (journal.attempts.length === 0 && fallbacks.length === 0) return journal.failed(tooLarge(input, tokens))
          candidates = []
          continue
        }
        if (room.kind === 'later') return later(journal, Math.min(room.afterMs, coolMs), 'full')
        const deployment = candidates.find(({ name }) => name === room.deployment)
        if (!deployment) throw new AppError('internal', `admission granted ${room.deployment}, which was not asked for`)

        const call = await callOnce(deployment, room, input, journal, timeoutMs, signal)
        if (call.kind === 'answered') return succeeded(deployment, call.answer, input, journal)
        const { error } = call
        if (error.disposition !== 'fail_over') return journal.failed(error)
        candidates = candidates.filter((one) => one !== deployment)
        if (error.code === 'model_rate_limited') {
          const asked = error.retryAfterMs ?? usualCoolDownMs
          const ms = Math.min(Math.max(asked, shortestCoolDownMs), longestCoolDownMs)
          coolMs = Math.min(coolMs, ms)
          void admission.cooled(room, ms)
        }
      }
    },
  }
}

const quotaOf = ({ name, quota }: Deployment): Quota => ({
  name,
  tokensPerMinute: quota.tokens_per_minute,
  requestsPerMinute: quota.requests_per_minute,
})

function tooLarge({ body, url }: RunInput, tokens: number): AppError {
  const limit = ['max_completion_tokens', 'max_tokens', 'max_output_tokens'].find((name) => body[name] !== undefined)
  const field = limit ?? (url === '/v1/chat/completions' ? 'messages' : 'input')
  return new AppError(
    'no_route',
    `The request may take ${tokens} tokens, more than any deployment allows in a minute.`,
    {
      param: `body.${field}`,
    },
  )
}
