import { type Clock, withDeadline } from '@sluice/resilience'
import type { Redis } from 'ioredis'

const deadlineMs = 1_000

/** Which regions' batch endpoints are thought to be lost, shared by the workers. A region comes back by itself. */
export interface RegionHealth {
  lost(region: string, forMs: number): Promise<void>
  /** The ones of `regions` that are lost at present. */
  lostOf(regions: readonly string[]): Promise<ReadonlySet<string>>
}

/** A worker remembers what it saw itself, so that Redis away or flushed does not make a lost region look healthy to it. */
export function createRegionHealth({ redis, clock }: { redis: Redis; clock: Clock }): RegionHealth {
  const keyOf = (region: string) => `sluice:batch:lost:${region}`
  const own = new Map<string, number>()
  const bounded = <T>(work: () => Promise<T>): Promise<T | undefined> =>
    withDeadline(deadlineMs, undefined, work, () => new Error('late')).catch(() => undefined)
  return {
    async lost(region, forMs) {
      own.set(region, clock.monotonic() + forMs)
      await bounded(() => redis.set(keyOf(region), '1', 'PX', Math.ceil(forMs)))
    },
    async lostOf(regions) {
      const now = clock.monotonic()
      const found = new Set(regions.filter((region) => (own.get(region) ?? 0) > now))
      if (regions.length === 0) return found
      const marks = await bounded(() => Promise.all(regions.map((region) => redis.get(keyOf(region)))))
      for (const [index, region] of regions.entries()) if (typeof marks?.[index] === 'string') found.add(region)
      return found
    },
  }
}
