import { randomUUID } from 'node:crypto'
import type { Clock } from '@sluice/resilience'
import type { Metrics } from '@sluice/telemetry'
import { createAdmissionMetrics } from './admission-metrics.ts'
import { Ahead } from './ahead.ts'
import type { Admission, CallEnd, Grant, Quota, Reservation, TenantShare } from './admission-types.ts'
import { DeploymentView } from './deployment-view.ts'
import { HeldSlots, slotKeysOf } from './held-slots.ts'
import { LocalAdmission } from './local-admission.ts'
import { createQuotaScript, type ScriptingRedis } from './quota-script.ts'
import { type BreakerSettings, scriptSettings, usualBreaker, usualLeaseMs } from './settings.ts'
import { type BreakerMove, createSharedAdmission, isFailure } from './shared-admission.ts'

export interface AdmissionOptions {
  redis: ScriptingRedis
  clock: Clock
  logger: { info(fields: object, message: string): void; warn(fields: object, message: string): void }
  metrics?: Metrics | undefined
  /** This worker's part of the quotas, 1 ÷ workers; it uses half of that while Redis is out of reach. */
  share?: number
  breaker?: BreakerSettings
  /** How long the slots of a worker that died stay taken. */
  leaseMs?: number
  /** How long Redis may take to answer. */
  deadlineMs?: number
  /** How often an unreachable Redis is tried again. */
  retryMs?: number
  /** Replaces Redis TIME, epoch ms, where time is simulated. */
  time?: () => number
  /** Whether steady calls find room reserved ahead; where time is simulated only when `clock` is as well. */
  reservesAhead?: boolean
}

// A provider that says "retry in a day" means the call, not the deployment: after a window's length its view is new.
const longestCoolDownMs = 60_000
const usualCoolDownMs = 1_000
// "Retry at once" after a refusal would make a worker spin.
const shortestCoolDownMs = 10

const hasLimit = (share: TenantShare): boolean =>
  share.requestsPerMinute !== undefined || share.tokensPerMinute !== undefined || share.concurrency !== undefined

/** Tokens of the deployment's window, those included that somebody else is assumed to have used. */
const inUseOf = ({
  quota,
  usedTokens,
  unseenTokens,
}: {
  quota: Quota
  usedTokens: number
  unseenTokens: number
}): number => Math.min(quota.tokensPerMinute, usedTokens + unseenTokens)

/**
 * Admission over a Redis that all workers share.
 *
 * `shared`: Redis decides. A failure or a missed deadline → `alone`.
 * `alone`: the worker decides by its own view, at half of its share, and remembers the tokens that it spent. Every
 * `retryMs` one script call pays those into Redis; when it succeeds and nothing was spent meanwhile → `shared`. Slots that
 * were taken alone are in Redis with the next renewal.
 */
export function createAdmission(options: AdmissionOptions): Admission {
  const { redis, clock, logger, share = 1, deadlineMs = 1_000, retryMs = 1_000, leaseMs = usualLeaseMs } = options
  const { breaker = usualBreaker, reservesAhead = options.time === undefined } = options
  const settings = scriptSettings(breaker, leaseMs)
  const script = createQuotaScript({ redis, clock, deadlineMs, settings, time: options.time })
  const onMove = ({ deployment, from, to }: BreakerMove) => {
    logger.warn({ deployment, from, to }, 'breaker moved')
    counted?.moved(deployment, to)
  }
  const shared = createSharedAdmission({ redis, script, clock, onMove, time: options.time })
  const view = new DeploymentView((quotas) => shared.look(quotas), clock)
  const counted = options.metrics && createAdmissionMetrics(options.metrics, () => view.states.values())
  const held = new HeldSlots({
    script,
    clock,
    leaseMs,
    onFailure: (error) => leave(error),
    onForgotten: ({ id, sinceMs }) => logger.warn({ id, sinceMs }, 'a grant was never ended'),
  })
  const own = new LocalAdmission(share / 2, held, breaker)
  const ahead = new Ahead({
    clock,
    newId: () => nextId(),
    reserve: async (ask) => {
      const room = await shared.reserve(ask)
      if (room.kind === 'room') view.granted(room.quota.name, inUseOf(room), room.slotsInUse - 1 + (ask.calls ?? 1))
      return room
    },
    settle: (lot) => {
      counted?.reservedAhead(lot.usedCalls, lot.calls - lot.usedCalls)
      const isSpent = lot.usedCalls === lot.calls && lot.usedTokens === lot.tokens
      if (!isSpent && mode === 'shared') shared.settle(lot).catch(leave)
    },
    onFailure: (error) => leave(error),
  })
  const owed = new Map<string, number>()
  const worker = randomUUID().slice(0, 8)
  let serial = 0
  let mode: 'shared' | 'alone' = 'shared'
  let retry: { cancel(): void } | undefined
  let closed = false
  const nextId = () => `${worker}-${++serial}`

  const leave = (error: unknown) => {
    if (mode === 'alone' || closed) return
    mode = 'alone'
    ahead.clear()
    logger.warn({ err: error, share: share / 2 }, 'Redis out of reach: quotas by own windows')
    retry = clock.setTimeout(() => void payBack(), retryMs)
  }

  const payBack = async () => {
    do {
      const debts = [...owed]
      owed.clear()
      try {
        await script('owe', {
          deployments: debts.map(([name]) => name),
          operands: debts.map(([, tokens]) => tokens),
        })
      } catch {
        for (const [name, tokens] of debts) owed.set(name, (owed.get(name) ?? 0) + tokens)
        if (!closed) retry = clock.setTimeout(() => void payBack(), retryMs)
        return
      }
    } while (owed.size > 0)
    mode = 'shared'
    logger.info({}, 'Redis is back: quotas are shared again')
  }

  const cooled = async ({ deployment, quota }: Grant, ms: number) => {
    ahead.drop(deployment)
    own.cool(deployment, clock.monotonic() + ms)
    if (mode === 'alone') return
    await shared
      .run('cool', { deployments: [deployment], operands: [Math.ceil(ms), quota.tokensPerMinute] })
      .catch(leave)
  }

  const observed = async (grant: Grant, { remainingTokens }: { remainingTokens?: number | undefined }) => {
    if (remainingTokens === undefined || grant.atMs === undefined || mode === 'alone') return
    const { deployment, tokens, atMs, usedTokens, unseenTokens } = grant
    const limit = grant.quota.tokensPerMinute
    const used = limit - remainingTokens
    if (used <= usedTokens && unseenTokens === 0) return
    const operands = [limit, used, usedTokens, atMs, tokens]
    await shared.run('observe', { deployments: [deployment], operands }).catch(leave)
  }

  const ended = async (id: string, grant: Grant, shares: readonly TenantShare[], call: CallEnd, wasAhead: boolean) => {
    held.remove(id)
    const now = clock.monotonic()
    const asked = Math.min(Math.max(call.retryAfterMs ?? usualCoolDownMs, shortestCoolDownMs), longestCoolDownMs)
    const coolMs = call.outcome === 'model_rate_limited' ? asked : 0
    if (coolMs > 0 || isFailure(call.outcome)) ahead.drop(grant.deployment)
    if (coolMs > 0) own.cool(grant.deployment, now + coolMs)
    own.ended(grant.deployment, call.outcome, isFailure(call.outcome), now)
    if (mode === 'alone') return
    // Whoever may have few calls in flight is refused the next one, perhaps by another worker, until its slot is free.
    const canWait = wasAhead || shares.every(({ concurrency }) => concurrency === undefined)
    await shared.finish(id, grant, shares, call, { coolMs, canWait }).catch(leave)
    await observed(grant, call)
  }

  const grantOf = (
    id: string,
    shares: readonly TenantShare[],
    room: { quota: Quota; usedTokens: number; unseenTokens?: number; atMs?: number },
    more: Pick<Grant, 'tokens' | 'utilisation'> & { left?: Grant['tenantLeft']; wasAhead?: boolean },
  ): Grant => {
    const { quota, usedTokens, unseenTokens = 0, atMs } = room
    let open = true
    own.spend(quota.name, shares, more.tokens, clock.monotonic())
    held.add(id, slotKeysOf(quota, shares))
    const grant: Grant = {
      kind: 'granted',
      deployment: quota.name,
      quota,
      tokens: more.tokens,
      atMs,
      usedTokens,
      unseenTokens,
      utilisation: more.utilisation,
      tenantLeft: more.left ?? {},
      end(call) {
        if (!open) return
        open = false
        void ended(id, grant, shares, call, more.wasAhead === true)
      },
    }
    return grant
  }

  const reserveShared = async (
    { candidates, tokens, priority, signal }: Parameters<Admission['reserve']>[0],
    shares: readonly TenantShare[],
  ): Promise<Reservation> => {
    const paced = priority === 'standard' || priority === 'bulk'
    const [first] = candidates
    const taken = reservesAhead && !paced && first !== undefined ? ahead.take(first, shares, tokens) : undefined
    if (taken !== undefined) {
      const { room, left } = taken
      const utilisation = inUseOf(room) / room.quota.tokensPerMinute
      return grantOf(taken.id, shares, room, { tokens, utilisation, left, wasAhead: true })
    }
    const id = nextId()
    const room = await shared.reserve({ id, candidates, shares, tokens, paced, signal })
    if (room.kind === 'later') return room
    const { quota, slotsInUse, tenantLeft: left } = room
    const inUse = inUseOf(room)
    view.granted(quota.name, inUse, slotsInUse)
    return grantOf(id, shares, room, { tokens, utilisation: inUse / quota.tokensPerMinute, left })
  }

  const reserveAlone = (
    { candidates, tokens }: Parameters<Admission['reserve']>[0],
    shares: readonly TenantShare[],
  ): Reservation => {
    const now = clock.monotonic()
    const room = own.reserve(candidates, shares, tokens, now)
    if (room.kind === 'later') return { ...room, afterMs: Math.min(retryMs, room.afterMs) }
    const { quota } = room
    owed.set(quota.name, (owed.get(quota.name) ?? 0) + tokens)
    return grantOf(nextId(), shares, room, { tokens, utilisation: own.utilisation(quota, now) })
  }

  return {
    async reserve(input) {
      const { candidates, tenant = [], tokens, signal } = input
      signal?.throwIfAborted()
      const shares = tenant.filter(hasLimit)
      const able = candidates.filter((quota) => tokens <= quota.tokensPerMinute)
      if (able.length === 0) return { kind: 'never', reason: 'deployment' }
      if (shares.some(({ tokensPerMinute = tokens }) => tokens > tokensPerMinute)) {
        return { kind: 'never', reason: 'tenant' }
      }
      view.used(able)
      let answer: Reservation | undefined
      if (mode === 'shared') {
        try {
          answer = await reserveShared({ ...input, candidates: able }, shares)
        } catch (error) {
          signal?.throwIfAborted()
          leave(error)
        }
      }
      answer ??= reserveAlone({ ...input, candidates: able }, shares)
      if (answer.kind === 'later') counted?.refused(answer.reason)
      return answer
    },
    cooled,
    observed,
    utilisation: (names) => new Map(names.map((name) => [name, view.utilisation(name)])),
    states: (quotas) => shared.look(quotas),
    async drain(deployment, { reason, untilMs = 0 }) {
      ahead.drop(deployment)
      await shared.run('drain', { deployments: [deployment], operands: [Math.ceil(untilMs), reason] })
      logger.warn({ deployment, reason, untilMs }, 'drained')
    },
    async undrain(deployment) {
      const [was] = await shared.run('undrain', { deployments: [deployment], operands: [] })
      if (was === 1) logger.info({ deployment }, 'undrained')
      return was === 1
    },
    close() {
      closed = true
      ahead.clear()
      shared.flush()
      retry?.cancel()
      held.close()
      view.close()
    },
  }
}
