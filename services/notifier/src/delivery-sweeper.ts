import type { Deliveries } from '@sluice/ledger'
import type { Clock } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import type { WebhookTimer } from './webhook-timer.ts'

/** Overdue by this much and a timer counts as lost: Redis was flushed, or the worker that held it died. */
const graceMs = 10_000
const pageSize = 200

/** Sets the timers of overdue webhooks again; a timer that is still there makes that a no-op. */
export function createDeliverySweeper(deps: {
  deliveries: Deliveries
  timer: WebhookTimer
  clock: Clock
  logger: Logger
  intervalMs: number
}): { start(): void; stop(): Promise<void>; sweepOnce(): Promise<number> } {
  let stopped = false
  let pending: { cancel(): void } | undefined
  let sweeping: Promise<unknown> = Promise.resolve()

  const sweepOnce = async () => {
    const rows = await deps.deliveries.overdue(deps.clock.now() - graceMs, pageSize)
    for (const row of rows) await deps.timer.set(row, 0)
    if (rows.length > 0) deps.logger.info({ count: rows.length }, 'overdue webhooks have their timers again')
    return rows.length
  }
  const round = async () => {
    try {
      await sweepOnce()
    } catch (err) {
      deps.logger.warn({ err }, 'overdue webhooks could not be looked for')
    }
    if (!stopped) schedule()
  }
  const schedule = () => {
    pending = deps.clock.setTimeout(() => {
      sweeping = round()
    }, deps.intervalMs)
  }
  return {
    start: schedule,
    async stop() {
      stopped = true
      pending?.cancel()
      await sweeping
    },
    sweepOnce,
  }
}
