import type { Admission } from '@sluice/admission'
import type { Deployment, PlatformConfig, Usage } from '@sluice/contracts'
import { type AppError, toAppError } from '@sluice/errors'
import type { Models } from '@sluice/models'
import type { Clock } from '@sluice/resilience'
import type { Route } from '@sluice/routing'
import type { Logger, Metrics } from '@sluice/telemetry'
import { createAccounts } from './accounts.ts'
import { createDeploymentCaller } from './call-deployment.ts'
import { createCallMetrics } from './call-metrics.ts'
import type { LaterReason, RunInput } from './execution-types.ts'
import { createFailover, type Run } from './failover.ts'
import { limitsOf } from './forward-limits.ts'
import type { ForwardInput, ForwardReport, ForwardSink } from './forward-types.ts'
import { type Answered, Journal } from './journal.ts'
import type { ResponsePins } from './response-pins.ts'
import { createCascade, type Steps } from './run-cascade.ts'

export interface ForwardCascadeOptions {
  config: Pick<PlatformConfig, 'routing' | 'deployments' | 'tenants' | 'prices'>
  admission: Admission
  models: Models
  pins?: ResponsePins | undefined
  evictionOf?: ((deployment: string) => AbortSignal | undefined) | undefined
  logger: Logger
  metrics: Metrics
  clock: Clock
}

/** What a synchronous cascade came to. */
export type Cascaded =
  | {
      kind: 'ended'
      report: ForwardReport
      answer?: { deployment: Deployment; bytes: Buffer; usage: Usage; costUsd: number }
    }
  /** No answer began; `costUsd` is what answers cost that are lost with it. */
  | { kind: 'refused'; error: AppError; costUsd: number }
  /** Nothing has been paid for, and nobody can answer now. */
  | { kind: 'later'; afterMs: number; reason: LaterReason; attempts: ForwardReport['attempts'] }

/**
 * Cascades of synchronous calls: the tiers, the judge and the books are the queue's. An answer has to be whole before it
 * can be judged, so that what streams is not for here.
 */
export function createForwardCascade(options: ForwardCascadeOptions) {
  const { config, admission, models, pins, logger, clock } = options
  const counted = createCallMetrics(options.metrics)
  const accounts = createAccounts(options)
  const call = createDeploymentCaller({ models, evictionOf: options.evictionOf, counted, logger, clock })
  const reach = createFailover({ config, admission, call, clock })
  const cascade = createCascade({ config, reach, accounts, counted, pins, clock })
  const open = new Set<AbortController>()

  const answered = (run: Run, input: ForwardInput, sink: ForwardSink, won: Answered, escalated: boolean): Cascaded => {
    const { deployment, answer, costUsd } = won
    const alwaysLargeUsd = accounts.alwaysLargeUsd(answer.usage, run.input.url, costUsd)
    const { decision, ...outcome } = run.journal.succeeded(won, alwaysLargeUsd, escalated)
    const { tenant } = input
    const { costUsd: allUsd, wasteUsd } = outcome
    accounts.sold({ tenant, model: won.model, usage: answer.usage, costUsd: allUsd, wasteUsd, alwaysLargeUsd })
    const bytes = Buffer.from(answer.text ?? JSON.stringify(answer.body))
    const { score } = decision
    sink.start({
      status: answer.status,
      contentType: 'application/json',
      contentLength: bytes.length,
      deployment,
      score,
      limits: limitsOf(won.tenantLeft, input),
    })
    sink.end(bytes)
    const { usage } = outcome
    const report = reportOf(run, 'answered', { deployment, score, why: decision.why, usage })
    return { kind: 'ended', report, answer: { deployment, bytes, usage: answer.usage, costUsd } }
  }

  return {
    /** The tiers to ask; undefined when one call is to do. */
    steps({ url, body, tenant }: ForwardInput, route: Route, deadline: number): Steps | undefined {
      if (route.score === null || body.stream === true || !judged.has(url)) return undefined
      return cascade.steps(
        route,
        body,
        Object.hasOwn(config.tenants, tenant) ? config.tenants[tenant] : undefined,
        deadline,
      )
    },

    async answer(
      input: ForwardInput,
      sink: ForwardSink,
      { route, steps, deadline }: { route: Route; steps: Steps; deadline: number },
    ): Promise<Cascaded> {
      const controller = new AbortController()
      const journal = new Journal()
      journal.routed(route)
      const run: Run = {
        input: runInputOf(input),
        journal,
        deadline,
        priority: input.options?.priority,
        shares: input.shares,
        signal: controller.signal,
      }
      open.add(controller)
      sink.onClose = () => controller.abort(gone)
      try {
        if (sink.closed) controller.abort(gone)
        const end = await cascade.climb(run, route, steps)
        controller.signal.throwIfAborted()
        if (end.kind === 'answered') return answered(run, input, sink, end.answered, end.escalated)
        if (end.kind === 'later') return { ...end, attempts: journal.attempts }
        accounts.lost(journal.costUsd)
        return { kind: 'refused', error: end.error, costUsd: journal.costUsd }
      } catch (error) {
        accounts.lost(journal.costUsd)
        const { score, why } = route
        if (controller.signal.reason === gone) {
          return { kind: 'ended', report: reportOf(run, 'aborted', { score, why, usage: journal.usage }) }
        }
        return { kind: 'refused', error: toAppError(error), costUsd: journal.costUsd }
      } finally {
        sink.onClose = undefined
        open.delete(controller)
      }
    },

    /** Calls in flight. */
    get inFlight(): number {
      return open.size
    },

    /** Gives up every call; their callers get the error. */
    interrupt(error: AppError): void {
      for (const one of open) one.abort(error)
    },
  }
}

const judged: ReadonlySet<string> = new Set(['/v1/chat/completions', '/v1/responses'])

const gone = new Error('the caller has left')

function runInputOf({ requestId, tenant, url, body, options, traceparent }: ForwardInput): RunInput {
  // What is Sluice's own is not for the provider.
  const { sluice: _, ...asked } = body
  return { requestId, tenant, url: url as RunInput['url'], body: asked, options, traceparent }
}

const reportOf = (
  { journal }: Run,
  outcome: ForwardReport['outcome'],
  more: Pick<ForwardReport, 'score' | 'why' | 'usage'> & Partial<ForwardReport>,
): ForwardReport => ({ outcome, attempts: journal.attempts, costUsd: journal.costUsd, waitedMs: 0, ...more })
