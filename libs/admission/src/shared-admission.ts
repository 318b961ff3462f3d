import type {
  BreakerState,
  CallEnd,
  DeploymentState,
  Grant,
  Quota,
  RefusalReason,
  TenantShare,
} from './admission-types.ts'
import { lessonsKey, type QuotaScript } from './quota-script.ts'

type SharedReservation =
  | {
      kind: 'room'
      quota: Quota
      atMs: number
      usedTokens: number
      unseenTokens: number
      slotsInUse: number
      /** Of the shares, where one has such a limit. */
      callsLeft: number | undefined
      tokensLeft: number | undefined
    }
  | { kind: 'later'; afterMs: number; reason: RefusalReason }

export interface BreakerMove {
  deployment: string
  from: BreakerState
  to: BreakerState
}

// As breaker.lua and reserve.lua count them.
const breakerStates: readonly BreakerState[] = ['closed', 'open', 'half_open', 'recovering']
const breakerState = (number: number): BreakerState => breakerStates[number] ?? 'closed'
const refusalReasons: readonly RefusalReason[] = ['deployment', 'tenant', 'concurrency', 'breaker', 'drained']

/** Outcomes that say that a deployment is broken, whatever it was asked. */
export const isFailure = (outcome: CallEnd['outcome']): boolean =>
  outcome === 'model_unavailable' || outcome === 'model_timeout' || outcome === 'model_unauthorized'

// Answers that a working deployment gives; a refused request was understood.
const answers: ReadonlySet<CallEnd['outcome']> = new Set([
  'ok',
  'context_length_exceeded',
  'content_policy',
  'model_rejected',
])

const scriptOutcome = (outcome: CallEnd['outcome']): string => {
  if (outcome === 'model_timeout') return 'timeout'
  if (outcome === 'model_rate_limited') return 'refused'
  if (isFailure(outcome)) return 'failed'
  return answers.has(outcome) ? 'ok' : 'neutral'
}

/** The operations of the script with their shapes. */
export function createSharedAdmission(script: QuotaScript, onMove: (move: BreakerMove) => void) {
  const reportMoves = (moves: unknown, deployments: readonly string[]) => {
    const list = moves as readonly number[]
    for (let at = 0; at < list.length; at += 3) {
      const [index = 0, from = 0, to = 0] = list.slice(at, at + 3)
      onMove({ deployment: deployments[index - 1] ?? '', from: breakerState(from), to: breakerState(to) })
    }
  }

  return {
    async reserve(input: {
      id: string
      candidates: readonly Quota[]
      shares: readonly TenantShare[]
      tokens: number
      paced: boolean
      signal?: AbortSignal | undefined
    }): Promise<SharedReservation> {
      const { id, candidates, shares, tokens, paced, signal } = input
      const deployments = candidates.map(({ name }) => name)
      const limits = candidates.flatMap((one) => [one.tokensPerMinute, one.requestsPerMinute, one.maxConcurrency ?? 0])
      const own = shares.flatMap((one) => [one.requestsPerMinute ?? 0, one.tokensPerMinute ?? 0, one.concurrency ?? 0])
      const operands = [id, tokens, paced ? 1 : 0, shares.length, ...limits, ...own]
      const answer = await script('reserve', { deployments, shares: shares.map(({ name }) => name), operands, signal })
      reportMoves(answer.at(-1), deployments)
      if (answer[0] === 0) {
        return {
          kind: 'later',
          afterMs: Number(answer[1]),
          reason: refusalReasons[Number(answer[2]) - 1] ?? 'deployment',
        }
      }
      const [index = 1, atMs = 0, usedTokens = 0, unseenTokens = 0, slots = 0, callsLeft = -1, tokensLeft = -1] = answer
        .slice(1, -1)
        .map(Number)
      return {
        kind: 'room',
        quota: candidates[index - 1] as Quota,
        atMs,
        usedTokens,
        unseenTokens,
        slotsInUse: slots + 1,
        callsLeft: callsLeft < 0 ? undefined : callsLeft,
        tokensLeft: tokensLeft < 0 ? undefined : tokensLeft,
      }
    },

    /** Reads the states of deployments. */
    async look(quotas: readonly Quota[]): Promise<DeploymentState[]> {
      if (quotas.length === 0) return []
      const deployments = quotas.map(({ name }) => name)
      const operands = quotas.flatMap(({ tokensPerMinute, maxConcurrency = 0 }) => [tokensPerMinute, maxConcurrency])
      const answer = await script('look', { deployments, operands })
      reportMoves(answer.at(-1), deployments)
      return quotas.map((quota, index) => stateOf(quota, answer[index] as readonly unknown[]))
    },

    async finish(
      id: string,
      grant: Grant,
      shares: readonly TenantShare[],
      call: CallEnd,
      coolMs: number,
    ): Promise<void> {
      const { quota, tokens, atMs = 0 } = grant
      const { outcome, ms, firstByteMs, usage } = call
      const actual = usage === undefined ? -1 : usage.input_tokens - freeTokens(usage, quota) + usage.output_tokens
      // Generating a token takes as long as reading some fifty, and every call some time of its own.
      const work = usage === undefined ? 0 : 20 + usage.output_tokens + usage.input_tokens / 50
      const [measure, latency] =
        outcome !== 'ok' || (firstByteMs === undefined && work === 0)
          ? ['', -1]
          : firstByteMs === undefined
            ? ['', ms / work]
            : ['First', firstByteMs]
      const answer = await script('finish', {
        deployments: [quota.name],
        shares: shares.map(({ name }) => name),
        more: [lessonsKey(quota.name)],
        operands: [
          id,
          scriptOutcome(outcome),
          atMs,
          tokens,
          actual,
          quota.maxConcurrency ?? 0,
          Math.ceil(ms),
          latency.toFixed(4),
          measure,
          quota.kind === 'ptu' ? 1 : 0,
          Math.ceil(coolMs),
          quota.tokensPerMinute,
        ],
      })
      reportMoves(answer.at(-1), [quota.name])
    },
  }
}

function stateOf({ name, tokensPerMinute }: Quota, told: readonly unknown[]): DeploymentState {
  const [breaker = 0, since = 0, limit = -1, slots = 0, used = 0, unseen = 0, coolFor = 0] = told.map(Number)
  const [, until, reason = ''] = /^(\d+):(.*)$/s.exec(String(told.at(-1))) ?? []
  return {
    deployment: name,
    breaker: breakerState(breaker),
    breakerSinceMs: since === 0 ? undefined : since,
    concurrencyLimit: limit < 0 ? undefined : limit,
    slotsInUse: slots,
    usedTokens: Math.min(tokensPerMinute, used + unseen),
    tokensPerMinute,
    coolForMs: coolFor,
    drained: until === undefined ? undefined : { reason, untilMs: Number(until) > 0 ? Number(until) : undefined },
  }
}

// Provisioned throughput does not count input that it had cached.
// https://learn.microsoft.com/azure/ai-foundry/openai/concepts/provisioned-throughput
const freeTokens = (usage: NonNullable<CallEnd['usage']>, { kind }: Quota): number =>
  kind === 'ptu' ? usage.cached_tokens : 0
