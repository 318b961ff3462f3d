import { AppError } from '@sluice/errors'
import type { Metrics } from '@sluice/telemetry'

/** How many answers of one tenant may be open while they wait for a request: event streams and long polls. */
export interface Watchers {
  /**
   * @returns says that the answer is over
   * @throws AppError `rate_limited` when the tenant has as many open as it may
   */
  enter(tenant: string): () => void
}

// When one of them ends nobody knows.
const retryAfterMs = 1_000

/** @param limit of one tenant, in this process */
export function createWatchers(limit: number, metrics: Pick<Metrics, 'gauge'>): Watchers {
  const open = new Map<string, number>()
  metrics.gauge({
    name: 'sluice_watchers',
    help: 'Event streams and long polls that are open; WATCHERS_PER_TENANT bounds those of one tenant',
    collect: (gauge) => gauge.set([...open.values()].reduce((sum, count) => sum + count, 0)),
  })
  return {
    enter(tenant) {
      const count = open.get(tenant) ?? 0
      if (count >= limit) {
        const message = `This tenant has ${limit} event streams and long polls open, as many as it may.`
        throw new AppError('rate_limited', message, { retryAfterMs })
      }
      open.set(tenant, count + 1)
      return () => {
        const left = (open.get(tenant) ?? 1) - 1
        if (left > 0) open.set(tenant, left)
        else open.delete(tenant)
      }
    },
  }
}
