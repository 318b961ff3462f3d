import type { Clock } from '@sluice/resilience'
import type { Admission, Quota, Reservation } from './admission-types.ts'
import { LocalWindows } from './local-windows.ts'
import { createQuotaScript, type ScriptingRedis } from './quota-script.ts'

export interface AdmissionOptions {
  redis: ScriptingRedis
  clock: Clock
  logger: { info(fields: object, message: string): void; warn(fields: object, message: string): void }
  /** This worker's part of the quotas, 1 ÷ workers; it uses half of that while Redis is out of reach. */
  share?: number
  /** How long Redis may take to answer. */
  deadlineMs?: number
  /** How often an unreachable Redis is tried again. */
  retryMs?: number
  /** Replaces Redis TIME, epoch ms, where time is simulated. */
  time?: () => number
}

/**
 * Admission over a Redis that all workers share.
 *
 * `shared`: Redis decides. A failure or a missed deadline → `alone`.
 * `alone`: the worker decides by its own windows, at half of its share, and remembers what it spent. Every `retryMs`
 * one script call pays that into Redis; when it succeeds and nothing was spent meanwhile → `shared`.
 */
export function createAdmission(options: AdmissionOptions): Admission {
  const { redis, clock, logger, share = 1, deadlineMs = 1_000, retryMs = 1_000, time } = options
  const script = createQuotaScript({ redis, clock, deadlineMs, time })
  const own = new LocalWindows(share / 2)
  const owed = new Map<string, number>()
  let mode: 'shared' | 'alone' = 'shared'
  let retry: { cancel(): void } | undefined
  let closed = false

  const leave = (error: unknown) => {
    if (mode === 'alone' || closed) return
    mode = 'alone'
    logger.warn({ err: error, share: share / 2 }, 'Redis out of reach: quotas by own windows')
    retry = clock.setTimeout(() => void payBack(), retryMs)
  }

  const payBack = async () => {
    do {
      const debts = [...owed]
      owed.clear()
      try {
        await script.run(
          'owe',
          debts.map(([name]) => name),
          debts.map(([, tokens]) => tokens),
        )
      } catch {
        for (const [name, tokens] of debts) owed.set(name, (owed.get(name) ?? 0) + tokens)
        if (!closed) retry = clock.setTimeout(() => void payBack(), retryMs)
        return
      }
    } while (owed.size > 0)
    mode = 'shared'
    logger.info({}, 'Redis is back: quotas are shared again')
  }

  const reserveShared = async (
    candidates: readonly Quota[],
    tokens: number,
    signal?: AbortSignal,
  ): Promise<Reservation> => {
    const limits = candidates.flatMap((quota) => [quota.tokensPerMinute, quota.requestsPerMinute])
    const answer = await script.run(
      'reserve',
      candidates.map(({ name }) => name),
      [tokens, ...limits],
      signal,
    )
    if (answer[0] === 0) return { kind: 'later', afterMs: answer[1] ?? 0 }
    const [, index = 0, atMs, usedTokens = 0, unseenTokens = 0] = answer
    const quota = candidates[index - 1] as Quota
    own.spend(quota.name, tokens, clock.monotonic())
    return { kind: 'granted', deployment: quota.name, quota, tokens, atMs, usedTokens, unseenTokens }
  }

  const reserveAlone = (candidates: readonly Quota[], tokens: number): Reservation => {
    const now = clock.monotonic()
    let soonest = retryMs
    for (const quota of candidates) {
      const wait = own.waitFor(quota, tokens, now)
      if (wait > 0) {
        soonest = Math.min(soonest, wait)
        continue
      }
      own.spend(quota.name, tokens, now)
      owed.set(quota.name, (owed.get(quota.name) ?? 0) + tokens)
      const usedTokens = own.used(quota.name, now)
      return { kind: 'granted', deployment: quota.name, quota, tokens, atMs: undefined, usedTokens, unseenTokens: 0 }
    }
    return { kind: 'later', afterMs: soonest }
  }

  return {
    async reserve({ candidates, tokens, signal }) {
      signal?.throwIfAborted()
      const able = candidates.filter((quota) => tokens <= quota.tokensPerMinute)
      if (able.length === 0) return { kind: 'never' }
      if (mode === 'shared') {
        try {
          return await reserveShared(able, tokens, signal)
        } catch (error) {
          signal?.throwIfAborted()
          leave(error)
        }
      }
      return reserveAlone(able, tokens)
    },

    async cooled({ deployment, quota }, ms) {
      own.cool(deployment, clock.monotonic() + ms)
      if (mode === 'alone') return
      await script.run('cool', [deployment], [Math.ceil(ms), quota.tokensPerMinute]).catch(leave)
    },

    async observed(grant, { remainingTokens }) {
      if (remainingTokens === undefined || grant.atMs === undefined || mode === 'alone') return
      const { deployment, tokens, atMs, usedTokens, unseenTokens } = grant
      const limit = grant.quota.tokensPerMinute
      const used = limit - remainingTokens
      if (used <= usedTokens && unseenTokens === 0) return
      await script.run('observe', [deployment], [limit, used, usedTokens, atMs, tokens]).catch(leave)
    },

    close() {
      closed = true
      retry?.cancel()
    },
  }
}
