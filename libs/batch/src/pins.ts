import { withDeadline } from '@sluice/resilience'
import type { Redis } from 'ioredis'

const ttlSeconds = 24 * 3600
const deadlineMs = 1_000

/** Which region a sticky file or batch belongs to. */
export interface Pins {
  set(tenant: string, id: string, region: string): Promise<void>
  /** @param load reads the row, which keeps the pin for good: a late batch outlives its key, and Redis may be flushed */
  get(tenant: string, id: string, load: () => Promise<string | undefined>): Promise<string | undefined>
}

/** Pins in Redis for a day, as a cache of the rows that keep them. Redis away costs a read of Cosmos and nothing else. */
export function createPins({ redis }: { redis: Pick<Redis, 'get' | 'set'> }): Pins {
  const keyOf = (tenant: string, id: string) => `sluice:batch:pin:{${tenant}|${id}}`
  const bounded = <T>(work: () => Promise<T>): Promise<T | undefined> =>
    withDeadline(deadlineMs, undefined, work, () => new Error('late')).catch(() => undefined)
  const set = async (tenant: string, id: string, region: string): Promise<void> => {
    await bounded(() => redis.set(keyOf(tenant, id), region, 'EX', ttlSeconds))
  }
  return {
    set,
    async get(tenant, id, load) {
      const kept = await bounded(() => redis.get(keyOf(tenant, id)))
      if (kept !== null && kept !== undefined) return kept
      const region = await load()
      if (region !== undefined) await set(tenant, id, region)
      return region
    },
  }
}
