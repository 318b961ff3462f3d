import { setTimeout as pause } from 'node:timers/promises'
import type { Clock, Timer } from '@sluice/resilience'
import type { Blobs } from '@sluice/storage'
import type { Logger } from '@sluice/telemetry'
import { eventsFolder } from './large-results.ts'

const intervalMs = 15 * 60_000
const perPass = 1_000
const atOnce = 8
/** Between groups of deletions: housekeeping does not compete with deliveries. */
const restMs = 20

/**
 * Deletes the events of past days that were stored because a sink takes less than they have. Every notifier does so;
 * deleting twice is harmless. A lifecycle rule of the account could not, because it cannot say "events of any tenant".
 */
export function createEventBlobSweeper(deps: {
  blobs: Pick<Blobs, 'list' | 'remove'>
  tenants: readonly string[]
  /** Undefined keeps them. */
  retentionMs: number | undefined
  clock: Clock
  logger: Logger
}): { start(): void; sweepOnce(): Promise<number>; stop(): Promise<void> } {
  const { blobs, tenants, retentionMs, clock, logger } = deps
  const stopping = new AbortController()
  let timer: Timer | undefined
  let sweeping: Promise<unknown> = Promise.resolve()

  const sweepTenant = async (tenant: string, keptFrom: string): Promise<number> => {
    const names = await blobs.list(tenant, eventsFolder, perPass)
    const due = names.filter((name) => (name.split('/')[2] ?? '') < keptFrom)
    for (let at = 0; at < due.length && !stopping.signal.aborted; at += atOnce) {
      await Promise.all(due.slice(at, at + atOnce).map((name) => blobs.remove(tenant, name)))
      await pause(restMs)
    }
    return due.length
  }
  const sweepOnce = async (): Promise<number> => {
    if (retentionMs === undefined) return 0
    // A day's folder goes as a whole, once the last event in it is old enough.
    const keptFrom = new Date(clock.now() - retentionMs).toISOString().slice(0, 10)
    let removed = 0
    for (const tenant of tenants) {
      if (stopping.signal.aborted) break
      try {
        removed += await sweepTenant(tenant, keptFrom)
      } catch (err) {
        logger.warn({ err, tenant }, 'old events in Blob could not be looked after')
      }
    }
    if (removed > 0) logger.info({ count: removed }, 'old events in Blob are deleted')
    return removed
  }
  const schedule = () => {
    timer = clock.setTimeout(() => {
      sweeping = sweepOnce().finally(() => (stopping.signal.aborted ? undefined : schedule()))
    }, intervalMs)
  }
  return {
    start: () => (retentionMs === undefined ? undefined : schedule()),
    sweepOnce,
    async stop() {
      stopping.abort()
      timer?.cancel()
      await sweeping
    },
  }
}
