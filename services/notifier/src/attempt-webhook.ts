import { type AppError, toAppError } from '@sluice/errors'
import type { DeliveryAttempt, Next } from '@sluice/ledger'
import type { EventEnvelope } from '@sluice/contracts'
import type { Clock } from '@sluice/resilience'
import type { Blobs } from '@sluice/storage'
import type { Logger } from '@sluice/telemetry'
import type { DeliveryMetrics } from './delivery-metrics.ts'
import type { EndpointHealth } from './endpoint-health.ts'
import { presentable } from './large-results.ts'
import { type AttemptVerdict, judgeAttempt } from './webhook-attempts.ts'
import type { WebhookCall } from './webhook-calls.ts'
import type { WebhookAnswer, WebhookSender } from './webhook-sender.ts'

export interface AttemptDeps {
  sender: WebhookSender
  health: EndpointHealth
  blobs: Blobs
  scheduleMs: readonly number[]
  clock: Clock
  logger: Logger
  metrics: DeliveryMetrics
  /** Aborts calls in flight when the service stops. */
  signal: AbortSignal
}

/** What one attempt came to, ready to be recorded. */
export interface Attempted {
  attempt: DeliveryAttempt
  next: Next
}

/** An event and, where they are at hand, its bytes as they were published. */
export interface Outgoing {
  tenant: string
  event: EventEnvelope
  bytes?: Buffer | undefined
}

/**
 * Makes one attempt: calls the receiver, judges what it answered, and notes what that says about the endpoint.
 * @returns undefined when a shutdown cut it short: nothing was learned, and the delivery stays due
 */
export type AttemptWebhook = (delivery: Outgoing, call: WebhookCall, number: number) => Promise<Attempted | undefined>

export function attemptWebhook(deps: AttemptDeps): AttemptWebhook {
  // Resolved once: looking a series up by its labels for every attempt is not free.
  const count = (outcome: AttemptVerdict['kind']) => deps.metrics.attempts.labels({ sink: 'webhook', outcome })
  const attempts = { delivered: count('delivered'), again: count('again'), failed: count('failed') }
  const latency = deps.metrics.latency.labels({ sink: 'webhook' })

  return async (outgoing, call, number) => {
    const { tenant, event } = outgoing
    const startedAt = deps.clock.now()
    const outcome = await post(deps, outgoing, call)
    if (deps.signal.aborted && 'error' in outcome) return undefined
    const ms = deps.clock.now() - startedAt
    const verdict = judgeAttempt(outcome, number, deps.scheduleMs, Math.random())
    const gone = 'answer' in outcome && outcome.answer.status === 410
    if (call.endpoint !== undefined) await deps.health.note(call.endpoint, verdict.kind === 'delivered', gone)

    const facts = { sink: 'webhook', event: event.id, tenant, attempt: number, ms }
    attempts[verdict.kind].inc()
    if (verdict.kind === 'delivered') {
      latency.observe((deps.clock.now() - Date.parse(event.time)) / 1000)
      deps.logger.info(facts, 'delivered')
    } else if (verdict.kind === 'again') {
      deps.logger.warn({ ...facts, afterMs: Math.round(verdict.afterMs) }, 'will be tried again')
    } else deps.logger.warn({ ...facts, why: verdict.why }, 'not delivered')

    return {
      attempt: {
        at: new Date(startedAt).toISOString(),
        ms,
        ...('answer' in outcome
          ? { status: outcome.answer.status, excerpt: outcome.answer.excerpt }
          : { status: 0, error: outcome.error.message }),
      },
      next: nextOf(verdict, deps.clock.now()),
    }
  }
}

async function post(
  deps: AttemptDeps,
  { tenant, event, bytes }: Outgoing,
  call: WebhookCall,
): Promise<{ answer: WebhookAnswer } | { error: AppError }> {
  try {
    const shown = await presentable(tenant, event, deps.blobs, deps.signal)
    // What goes out as it came is not written as JSON once more.
    const body = shown === event && bytes !== undefined ? bytes : Buffer.from(JSON.stringify(shown))
    return { answer: await deps.sender.post(tenant, call, shown, body) }
  } catch (error) {
    return { error: toAppError(error, 'delivery_failed') }
  }
}

function nextOf(verdict: AttemptVerdict, nowMs: number): Next {
  switch (verdict.kind) {
    case 'delivered':
      return verdict
    case 'failed':
      return { kind: 'failed', reason: verdict.why }
    case 'again':
      return { kind: 'again', atMs: nowMs + verdict.afterMs }
  }
}
