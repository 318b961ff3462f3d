import { hash } from 'node:crypto'
import { type Clock, withDeadline } from '@sluice/resilience'
import type { Route } from '@sluice/routing'

/** The two commands that affinity needs of a Redis client. */
export interface AffinityRedis {
  getex(key: string, mode: 'EX', seconds: number): Promise<string | null>
  set(key: string, value: string, mode: 'EX', seconds: number): Promise<unknown>
}

/** A conversation as one of its requests found it. */
export interface Bound {
  tenant: string
  conversation: string
  /** Where it was answered last. */
  last: string | undefined
  /** All regions in the conversation's own order, for its first turn and for when nobody knows its last one. */
  home: readonly string[]
}

/**
 * Where conversations were answered last: their provider's prompt cache is there. A preference, never a condition.
 * Queued and synchronous requests share it.
 */
export interface RegionAffinity {
  /** Keeps the conversation's region for another day. One round trip; never throws. */
  find(tenant: string, conversation: string): Promise<Bound>
  /** Never throws, never waits; without a round trip while the conversation stays where it was. */
  answered(bound: Bound, route: Pick<Route, 'candidates' | 'fallbacks'>, region: string): void
}

const keptSeconds = 24 * 3600
// Better another region than a request that waits for a hint.
const lookupMs = 100
// Nor does every request wait for it while Redis is away.
const awayMs = 1_000

export function createRegionAffinity(options: {
  redis: AffinityRedis
  deployments: readonly { region: string }[]
  clock: Clock
}): RegionAffinity {
  const { redis, clock } = options
  const regions = [...new Set(options.deployments.map(({ region }) => region))]
  // A tenant has no separator in its name, so that two of them never share a key.
  const keyOf = (tenant: string, conversation: string) => `sluice:affinity:${tenant}|${conversation}`
  let awayUntil = -Infinity

  const lastOf = async (tenant: string, conversation: string): Promise<string | undefined> => {
    if (clock.monotonic() < awayUntil) return undefined
    const look = () => redis.getex(keyOf(tenant, conversation), 'EX', keptSeconds)
    try {
      return (await withDeadline(lookupMs, undefined, look, () => new Error('late'), clock)) ?? undefined
    } catch {
      awayUntil = clock.monotonic() + awayMs
      return undefined
    }
  }

  return {
    async find(tenant, conversation) {
      const last = await lastOf(tenant, conversation)
      return { tenant, conversation, last, home: homeOf(conversation, tenant, regions) }
    },
    answered({ tenant, conversation, last }, { candidates, fallbacks }, region) {
      if (region === last) return
      // What could not have run there says nothing about where the conversation is: it goes back with the next turn.
      const inLast = (one: { region: string }) => one.region === last
      if (last !== undefined && !candidates.some(inLast) && !fallbacks.some(inLast)) return
      redis.set(keyOf(tenant, conversation), region, 'EX', keptSeconds).catch(() => undefined)
    },
  }
}

/**
 * Rendezvous hashing: every process finds the same order without asking anybody, and a region that comes or goes moves
 * only the conversations that it is home to.
 */
export function homeOf(conversation: string, tenant: string, regions: readonly string[]): readonly string[] {
  return regions
    .map((region) => ({ region, rank: hash('sha256', `${tenant}|${conversation}|${region}`) }))
    .toSorted((a, b) => (a.rank < b.rank ? -1 : 1))
    .map(({ region }) => region)
}
