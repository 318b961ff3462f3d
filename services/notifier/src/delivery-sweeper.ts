import { type Deliveries, overdueGraceMs } from '@sluice/ledger'
import type { Clock } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import type { WebhookTimer } from './webhook-timer.ts'

const pageSize = 200
const maxPages = 25

/**
 * Sets the timers of overdue webhooks again; a timer that is still there makes that a no-op. A sweep goes on where the
 * last one ended, so that rows which wait in line for a dead receiver do not hide those behind them.
 */
export function createDeliverySweeper(deps: {
  deliveries: Pick<Deliveries, 'overdue'>
  timer: WebhookTimer
  /** What else is to be done in every round. */
  also?: () => Promise<unknown>
  clock: Clock
  logger: Logger
  intervalMs: number
  /** {@link overdueGraceMs} unless given. */
  graceMs?: number | undefined
}): { start(): void; stop(): Promise<void>; sweepOnce(): Promise<number> } {
  const { deliveries, timer, clock, logger, graceMs = overdueGraceMs } = deps
  const stopping = new AbortController()
  let pending: { cancel(): void } | undefined
  let sweeping: Promise<unknown> = Promise.resolve()
  let last: Awaited<ReturnType<Deliveries['overdue']>>[number] | undefined

  const sweepOnce = async () => {
    const beforeMs = clock.now() - graceMs
    let found = 0
    for (let page = 0; page < maxPages && !stopping.signal.aborted; page++) {
      const rows = await deliveries.overdue(beforeMs, pageSize, last)
      await Promise.all(rows.map((row) => timer.set(row, 0)))
      found += rows.length
      last = rows.length === pageSize ? rows.at(-1) : undefined
      if (last === undefined) break
    }
    if (found > 0) logger.info({ count: found }, 'overdue webhooks have their timers again')
    return found
  }
  const round = async () => {
    for (const step of [sweepOnce, deps.also ?? (() => Promise.resolve())]) {
      try {
        await step()
      } catch (err) {
        logger.warn({ err }, 'overdue webhooks could not be looked after')
      }
    }
    if (!stopping.signal.aborted) schedule()
  }
  const schedule = () => {
    pending = clock.setTimeout(() => {
      sweeping = round()
    }, deps.intervalMs)
  }
  return {
    start: schedule,
    async stop() {
      stopping.abort()
      pending?.cancel()
      await sweeping
    },
    sweepOnce,
  }
}
