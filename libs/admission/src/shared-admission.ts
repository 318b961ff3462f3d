import type { Clock, Timer } from '@sluice/resilience'
import type {
  BreakerState,
  CallEnd,
  DeploymentState,
  Grant,
  Quota,
  RefusalReason,
  TenantShare,
} from './admission-types.ts'
import type { QuotaScript, ScriptingRedis } from './quota-script.ts'
import type { Lot } from './ahead.ts'
import { type Ask, askBatches, type Batch, type End, endBatches } from './script-batches.ts'
import { windows } from './windows.ts'

export type SharedReservation =
  | {
      kind: 'room'
      quota: Quota
      atMs: number
      usedTokens: number
      unseenTokens: number
      slotsInUse: number
      /** Of the shares, where one has such a limit. */
      tenantLeft: Grant['tenantLeft']
    }
  | { kind: 'later'; afterMs: number; reason: RefusalReason; tenantLeft?: Grant['tenantLeft'] }

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

/** How long the end of a call that went well may wait for others: its slot is free to other workers that much later. */
const endsMs = 5

const unlimited: Grant['tenantLeft'] = {}

/** What the script says is left; -1: no such limit. */
function leftOf(calls: number, tokens: number, resetMs: number): Grant['tenantLeft'] {
  if (calls < 0 && tokens < 0) return unlimited
  return { ...(calls < 0 ? {} : { requests: calls }), ...(tokens < 0 ? {} : { tokens }), resetMs }
}

/** A minute is counted by seconds, each of which leaves as a whole, as tenants.lua says. */
const resetMsAt = (atMs: number): number => windows.tokens - (atMs % 1_000)

interface Asked extends Ask {
  answered(reservation: SharedReservation): void
  failed(error: unknown): void
}

interface Ended extends End {
  done(): void
  failed(error: unknown): void
}

/**
 * The operations of the script with their shapes. What is reserved in one turn of the event loop, and what has ended by
 * then, shares a run of the script: a busy worker's calls cost Redis and the worker itself a fraction of what each would alone.
 */
export function createSharedAdmission(options: {
  redis: Pick<ScriptingRedis, 'stream'>
  script: QuotaScript
  clock: Clock
  onMove: (move: BreakerMove) => void
  time: (() => number) | undefined
}) {
  const { redis, script, clock, onMove, time } = options
  let others: (() => void)[] = []
  let asks: Asked[] = []
  let ends: Ended[] = []
  let turn: NodeJS.Immediate | undefined
  let turnAt: number | undefined
  let soon: Timer | undefined

  const reportMoves = (moves: unknown, deployments: readonly string[]) => {
    const list = moves as readonly number[]
    for (let at = 0; at < list.length; at += 3) {
      const [index = 0, from = 0, to = 0] = list.slice(at, at + 3)
      onMove({ deployment: deployments[index - 1] ?? '', from: breakerState(from), to: breakerState(to) })
    }
  }

  const sendAsks = async ({ calls, quotas, ...call }: Batch<Asked>) => {
    try {
      const answer = await script('reserve', { ...call, at: turnAt })
      reportMoves(answer.at(-1), call.deployments)
      for (const [index, one] of calls.entries()) one.answered(readAnswer(answer as number[], index, quotas))
    } catch (error) {
      for (const one of calls) one.failed(error)
    }
  }

  const sendEnds = async ({ calls, ...call }: Batch<Ended>) => {
    try {
      const answer = await script('finish', { ...call, at: turnAt })
      reportMoves(answer.at(-1), call.deployments)
      for (const one of calls) one.done()
    } catch (error) {
      for (const one of calls) one.failed(error)
    }
  }

  // Ends first: whoever ends a call and asks for the next one, or looks, finds its own slot free.
  const flush = () => {
    clearImmediate(turn)
    soon?.cancel()
    turn = soon = undefined
    const [ended, asked, run] = [ends, asks, others]
    ends = []
    asks = []
    others = []
    const { stream } = redis
    stream?.cork()
    try {
      for (const batch of endBatches(ended)) void sendEnds(batch)
      for (const one of run) one()
      for (const batch of askBatches(asked)) void sendAsks(batch)
    } finally {
      stream?.uncork()
    }
  }

  // Simulated time may move on within a turn.
  const gather = () => {
    const now = time?.()
    if (now !== turnAt) flush()
    turnAt = now
    turn ??= setImmediate(flush)
  }

  /** For what nobody waits for; it goes with the next that somebody does. */
  const gatherEnds = () => {
    if (time === undefined) soon ??= clock.setTimeout(flush, endsMs)
    else gather()
  }

  /** Any other operation, in its turn. */
  const run: QuotaScript = (operation, call) =>
    new Promise((resolve, reject) => {
      gather()
      const at = turnAt
      others.push(() => void script(operation, { ...call, at }).then(resolve, reject))
    })

  return {
    /** Sends what was gathered, now. */
    flush,

    run,

    /** @throws the signal's reason when it aborts first; what was asked by then may have been granted. */
    reserve({ signal, ...ask }: Ask & { signal?: AbortSignal | undefined }): Promise<SharedReservation> {
      return new Promise((resolve, reject) => {
        const onAbort = () => {
          asks = asks.filter((one) => one !== asked)
          reject(signal?.reason as Error)
        }
        signal?.addEventListener('abort', onAbort, { once: true })
        const asked: Asked = {
          ...ask,
          answered(reservation) {
            signal?.removeEventListener('abort', onAbort)
            resolve(reservation)
          },
          failed(error) {
            signal?.removeEventListener('abort', onAbort)
            reject(error)
          },
        }
        gather()
        asks.push(asked)
      })
    },

    /** Gives back what of a lot was not used. */
    async settle({ id, quota, shares, room, calls, tokens, usedCalls, usedTokens }: Lot): Promise<void> {
      const unused = Array.from({ length: calls - usedCalls }, (_, index) => `${id}.${usedCalls + index + 1}`)
      const operands = [
        quota.tokensPerMinute,
        room.atMs,
        tokens,
        calls,
        usedTokens,
        usedCalls,
        shares.length,
        ...unused,
      ]
      await run('settle', { deployments: [quota.name], shares: shares.map(({ name }) => name), operands })
    },

    /** Reads the states of deployments. */
    async look(quotas: readonly Quota[]): Promise<DeploymentState[]> {
      if (quotas.length === 0) return []
      const deployments = quotas.map(({ name }) => name)
      const operands = quotas.flatMap(({ tokensPerMinute, maxConcurrency = 0 }) => [tokensPerMinute, maxConcurrency])
      const answer = await run('look', { deployments, operands })
      reportMoves(answer.at(-1), deployments)
      return quotas.map((quota, index) => stateOf(quota, answer[index] as readonly unknown[]))
    },

    finish(
      id: string,
      grant: Grant,
      shares: readonly TenantShare[],
      call: CallEnd,
      { coolMs, canWait }: { coolMs: number; canWait: boolean },
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
      const said = scriptOutcome(outcome)
      return new Promise((done, failed) => {
        const fields = { id, quota, shares, outcome: said, atMs, tokens, actual, ms, latency, measure, coolMs }
        if (said === 'ok' && canWait) gatherEnds()
        else gather()
        ends.push({ ...fields, done, failed })
      })
    },
  }
}

// As reserve.lua writes it.
const answerLength = 8

function readAnswer(answers: readonly number[], call: number, quotas: readonly Quota[]): SharedReservation {
  const at = call * answerLength
  const [granted, a = 0, b = 0, c = 0, d = 0, e = 0, f = -1, g = -1] = answers.slice(at, at + answerLength)
  if (granted === 1) {
    return {
      kind: 'room',
      quota: quotas[a - 1] as Quota,
      atMs: b,
      usedTokens: c,
      unseenTokens: d,
      slotsInUse: e + 1,
      tenantLeft: leftOf(f, g, resetMsAt(b)),
    }
  }
  const reason = refusalReasons[b - 1] ?? 'deployment'
  if (reason !== 'tenant') return { kind: 'later', afterMs: a, reason }
  return { kind: 'later', afterMs: a, reason, tenantLeft: leftOf(c, d, e) }
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
