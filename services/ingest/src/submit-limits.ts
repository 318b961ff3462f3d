import type { Limits, PlatformConfig } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import type { FastifyReply } from 'fastify'
import type { Redis } from 'ioredis'
import type { Caller } from './authenticate.ts'
import { duration } from './limit-headers.ts'
import { submitScript } from './submit-script.ts'

/** The requests of a minute, by the limit that leaves the least. */
export interface RequestsLeft {
  /** Not counted: there is room after this long. 0 when it was counted. */
  waitMs: number
  limit: number
  remaining: number
  /** Until the whole minute's allowance is there again. */
  resetMs: number
}

export interface SubmitLimits {
  /**
   * Counts one submission against the limits of the tenant and of the key, all of them or none. A burst of a minute's
   * allowance is possible at once, and it comes back evenly. While Redis is away each instance counts by itself.
   * @returns undefined without a limit
   */
  take(caller: Caller): Promise<RequestsLeft | undefined>
  /** The same without counting. */
  look(caller: Caller): Promise<RequestsLeft | undefined>
}

interface Allowance {
  key: string
  perMinute: number
}

const minuteMs = 60_000

const limited = (config: PlatformConfig, { tenant, principal, limits }: Caller): [name: string, Limits][] => [
  [tenant, config.tenants[tenant]?.limits ?? {}],
  [`${tenant}/${principal}`, limits],
]

/** Requests a minute at the asynchronous door, counted apart from the calls of models that come of them. */
export function createSubmitLimits(options: { config: PlatformConfig; redis: Redis; clock: Clock }): SubmitLimits {
  const { config, redis, clock } = options
  const script = submitScript(redis)
  /** When each allowance would be whole again, on this process's clock; only used while Redis is away. */
  const local = new Map<string, number>()

  const locally = (allowances: Allowance[], cost: 0 | 1): number[] => {
    const now = clock.monotonic()
    const fullAt = allowances.map(
      ({ key, perMinute }) => Math.max(now, local.get(key) ?? 0) + (cost * minuteMs) / perMinute,
    )
    const waitMs = Math.max(...fullAt.map((at) => at - now - minuteMs))
    if (waitMs > 0.5) {
      return [waitMs, ...fullAt.map((at, index) => at - now - minuteMs / (allowances[index]?.perMinute ?? 1))]
    }
    if (cost > 0) {
      if (local.size > 10_000) local.clear()
      for (const [index, { key }] of allowances.entries()) local.set(key, fullAt[index] ?? 0)
    }
    return [0, ...fullAt.map((at) => at - now)]
  }

  const count = async (caller: Caller, cost: 0 | 1): Promise<RequestsLeft | undefined> => {
    const allowances = limited(config, caller).flatMap(([name, { requests_per_minute: perMinute }]) =>
      perMinute === undefined ? [] : [{ key: `sluice:submit:{${caller.tenant}}:${name}`, perMinute }],
    )
    if (allowances.length === 0) return undefined
    const answer = await script(allowances, cost).catch(() => locally(allowances, cost))
    const [waitMs = 0, ...usedMs] = answer
    return tightest(allowances, usedMs, waitMs)
  }

  return { take: (caller) => count(caller, 1), look: (caller) => count(caller, 0) }
}

/** @param usedMs how long each allowance takes to be whole again */
function tightest(allowances: Allowance[], usedMs: number[], waitMs: number): RequestsLeft | undefined {
  return allowances
    .map(({ perMinute }, index) => {
      const resetMs = Math.max(0, usedMs[index] ?? 0)
      const remaining = Math.floor(((minuteMs - resetMs) * perMinute) / minuteMs + 1e-6)
      return { waitMs, limit: perMinute, remaining: Math.max(0, remaining), resetMs }
    })
    .toSorted((a, b) => a.remaining - b.remaining)[0]
}

/**
 * Counts a submission, and says in OpenAI's headers what is left.
 * @param reply absent for one line of many, which has no headers
 * @throws AppError `rate_limited` with the exact wait
 */
export async function countSubmission(limits: SubmitLimits, caller: Caller, reply?: FastifyReply): Promise<void> {
  const left = await limits.take(caller)
  if (left === undefined) return
  void reply?.headers({
    'x-ratelimit-limit-requests': String(left.limit),
    'x-ratelimit-remaining-requests': String(left.remaining),
    'x-ratelimit-reset-requests': duration(left.resetMs),
  })
  if (left.waitMs === 0) return
  throw new AppError('rate_limited', 'The requests of this minute are used up.', { retryAfterMs: left.waitMs })
}
