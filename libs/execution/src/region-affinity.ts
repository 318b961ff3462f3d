import { type Clock, withDeadline } from '@sluice/resilience'

/** The two commands that affinity needs of a Redis client. */
export interface AffinityRedis {
  getex(key: string, mode: 'EX', seconds: number): Promise<string | null>
  set(key: string, value: string, mode: 'EX', seconds: number): Promise<unknown>
}

/** Where conversations were answered last: their provider's prompt cache is there. A preference, never a condition. */
export interface RegionAffinity {
  /** Keeps the conversation's region for another day. Undefined when there is none, or Redis does not say at once. */
  regionOf(tenant: string, conversation: string): Promise<string | undefined>
  /** Never throws, never waits. */
  remember(tenant: string, conversation: string, region: string): void
}

const keptSeconds = 24 * 3600
// Better another region than a request that waits for a hint.
const lookupMs = 100

export function createRegionAffinity({ redis, clock }: { redis: AffinityRedis; clock: Clock }): RegionAffinity {
  // A tenant has no separator in its name, so that two of them never share a key.
  const keyOf = (tenant: string, conversation: string) => `sluice:affinity:${tenant}|${conversation}`
  return {
    async regionOf(tenant, conversation) {
      const look = () => redis.getex(keyOf(tenant, conversation), 'EX', keptSeconds)
      try {
        return (await withDeadline(lookupMs, undefined, look, () => new Error('late'), clock)) ?? undefined
      } catch {
        return undefined
      }
    },
    remember(tenant, conversation, region) {
      redis.set(keyOf(tenant, conversation), region, 'EX', keptSeconds).catch(() => undefined)
    },
  }
}
