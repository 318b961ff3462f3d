import { toAppError } from '@sluice/errors'
import type { Deliveries, DeliveryRow } from '@sluice/ledger'
import type { Clock } from '@sluice/resilience'
import type { Blobs } from '@sluice/storage'
import type { Logger } from '@sluice/telemetry'
import type { DeliveryMetrics } from './delivery-metrics.ts'
import { presentable } from './large-results.ts'
import { type AttemptVerdict, judgeAttempt } from './webhook-attempts.ts'
import type { WebhookAnswer, WebhookSender } from './webhook-sender.ts'
import type { WebhookJob, WebhookTimer } from './webhook-timer.ts'

export interface AttemptDeps {
  deliveries: Deliveries
  sender: WebhookSender
  timer: WebhookTimer
  blobs: Blobs
  scheduleMs: readonly number[]
  clock: Clock
  logger: Logger
  metrics: DeliveryMetrics
  signal: AbortSignal
}

/**
 * One attempt: the row says whether it is still due, the receiver is called, the row records what came of it and when
 * the next attempt is due, and only then the timer for that is set.
 */
export const attemptWebhook =
  (deps: AttemptDeps) =>
  async (job: WebhookJob): Promise<void> => {
    const row = await deps.deliveries.get(job.tenant, job.requestId, job.id)
    // Somebody else made this attempt (a stalled job, a sweeper's second timer): the row is ahead of the timer.
    if (row === undefined || row.status !== 'pending' || row.attempts.length + 1 !== job.attempt) return
    if (row.target.type !== 'webhook') return
    const startedAt = deps.clock.now()
    const outcome = await post(deps, row, row.target.url)
    // A shutdown cut the call short: nothing was learned, and the row stays due.
    if (deps.signal.aborted && 'error' in outcome) return
    const ms = deps.clock.now() - startedAt
    const verdict = judgeAttempt(outcome, job.attempt, deps.scheduleMs, Math.random())
    const recorded = await deps.deliveries.record(
      row,
      {
        at: new Date(startedAt).toISOString(),
        ms,
        status: 'answer' in outcome ? outcome.answer.status : 0,
        ...('answer' in outcome ? { excerpt: outcome.answer.excerpt } : { error: toAppError(outcome.error).message }),
      },
      verdict.kind === 'again' ? { atMs: deps.clock.now() + verdict.afterMs } : verdict.kind,
    )
    tell(deps, row, verdict, ms)
    if (recorded !== undefined && verdict.kind === 'again') await deps.timer.set(recorded, verdict.afterMs)
  }

async function post(
  deps: AttemptDeps,
  row: DeliveryRow,
  url: string,
): Promise<{ answer: WebhookAnswer } | { error: unknown }> {
  try {
    const event = await presentable(row.event, deps.blobs, deps.signal)
    return { answer: await deps.sender.post(row.tenant, url, event, deps.signal) }
  } catch (error) {
    return { error }
  }
}

function tell(deps: AttemptDeps, row: DeliveryRow, verdict: AttemptVerdict, ms: number): void {
  const log = deps.logger.child({ requestId: row.requestId, tenant: row.tenant })
  deps.metrics.attempts.inc({ sink: 'webhook', outcome: verdict.kind })
  switch (verdict.kind) {
    case 'delivered':
      deps.metrics.latency.observe({ sink: 'webhook' }, (deps.clock.now() - Date.parse(row.event.time)) / 1000)
      log.info({ sink: 'webhook', attempt: row.attempts.length + 1, ms }, 'delivered')
      return
    case 'again':
      log.warn(
        { sink: 'webhook', attempt: row.attempts.length + 1, afterMs: Math.round(verdict.afterMs) },
        'will be tried again',
      )
      return
    case 'failed':
      log.error({ sink: 'webhook', why: verdict.why }, 'not delivered')
      return
  }
}
