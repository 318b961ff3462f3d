import { type Admission, estimateTokens, type Grant, quotaOf, type TenantShare } from '@sluice/admission'
import {
  type Deployment,
  type LineUrl,
  type PlatformConfig,
  type Priority,
  type RequestBody,
  tierNames,
} from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { ModelAnswer } from '@sluice/models'
import { type Clock, fullJitter } from '@sluice/resilience'
import type { createDeploymentCaller } from './call-deployment.ts'
import type { LaterReason, RunInput } from './execution-types.ts'
import type { Journal } from './journal.ts'

/** Whom to ask, in order. */
export interface Plan {
  candidates: readonly Deployment[]
  /** For when every candidate fails. */
  fallbacks: readonly Deployment[]
  /** The body for a deployment, the model's name left to the call. */
  bodyFor: (deployment: Deployment) => RequestBody
  streamed: boolean
}

export type Reached =
  | { kind: 'answered'; deployment: Deployment; answer: ModelAnswer; tenantLeft: Grant['tenantLeft'] }
  | { kind: 'failed'; error: AppError }
  | { kind: 'later'; afterMs: number; reason: LaterReason }

/** One request on its way. */
export interface Run {
  input: RunInput
  journal: Journal
  /** Epoch ms. */
  deadline: number
  priority: Priority | undefined
  shares: readonly TenantShare[] | undefined
  signal: AbortSignal
}

// A provider that says "retry in a day" means the call, not the deployment: after a window's length its view is new.
const longestCoolDownMs = 60_000
const usualCoolDownMs = 1_000
// "Retry at once" after a refusal would make this worker spin.
const shortestCoolDownMs = 10
const failingBackoff = fullJitter({ baseMs: 4_000, capMs: 4_000 })

export function createFailover(options: {
  config: Pick<PlatformConfig, 'deployments'>
  admission: Admission
  call: ReturnType<typeof createDeploymentCaller>
  clock: Clock
}) {
  const { admission, call, clock } = options
  const quotas = new Map(options.config.deployments.map((deployment) => [deployment.name, quotaOf(deployment)]))

  /**
   * Reserves and calls until a deployment answers, the request is at fault, the deadline has passed, or there is nobody
   * left who could answer now. Full is not failed: only failures, and deployments that are out of service, lead on to
   * the fallbacks.
   */
  return async function reach({ candidates, fallbacks, bodyFor, streamed }: Plan, run: Run): Promise<Reached> {
    const { input, journal, signal } = run
    let now = candidates
    let next = fallbacks
    // The shortest wait that a 429 of this run named.
    let coolMs = Infinity
    const advance = () => {
      now = next
      next = []
    }

    for (;;) {
      signal.throwIfAborted()
      const slackMs = run.deadline - clock.now()
      if (slackMs <= 0) return failed(new AppError('deadline_exceeded', 'The deadline has passed.'))
      if (now.length === 0) {
        if (coolMs < Infinity) return { kind: 'later', afterMs: coolMs, reason: 'full' }
        if (next.length === 0) return { kind: 'later', afterMs: 1_000 + failingBackoff(1), reason: 'failing' }
        advance()
      }
      // Output limits may differ between deployments; the largest is reserved.
      const bodies = new Set(now.map(bodyFor))
      const tokens = Math.max(...[...bodies].map((body) => estimateTokens(body, input.url)))
      const room = await admission.reserve({
        candidates: now.map((one) => quotas.get(one.name) ?? quotaOf(one)),
        tenant: run.shares,
        tokens,
        priority: run.priority,
        signal,
      })
      if (room.kind === 'never') {
        const hopeless = room.reason === 'tenant' || (journal.attempts.length === 0 && next.length === 0)
        if (hopeless) return failed(tooLarge(input.url, input.body, tokens, room.reason))
        now = []
        continue
      }
      if (room.kind === 'later') {
        const outOfService = room.reason === 'breaker' || room.reason === 'drained'
        if (!outOfService || next.length === 0) {
          const reason = room.reason === 'tenant' ? 'tenant' : outOfService ? 'failing' : 'full'
          return { kind: 'later', afterMs: Math.min(room.afterMs, coolMs), reason }
        }
        advance()
        continue
      }
      const deployment = now.find(({ name }) => name === room.deployment)
      if (deployment === undefined) {
        room.end({ outcome: 'aborted', ms: 0 })
        throw new AppError('internal', `admission granted ${room.deployment}, which was not asked for`)
      }
      const body = bodyFor(deployment)
      const made = await call({ deployment, grant: room, body, slackMs, streamed }, input, journal, signal)
      if (made.kind === 'answered') {
        return { kind: 'answered', deployment, answer: made.answer, tenantLeft: room.tenantLeft }
      }
      const { error } = made
      // What was begun cannot be begun again elsewhere: the caller has read it.
      if (made.begun) return failed(error)
      if (error.code === 'context_length_exceeded') {
        now = largerThan(deployment, [...now, ...next])
        next = []
        if (now.length === 0) return failed(error)
        continue
      }
      if (error.disposition !== 'fail_over') return failed(error)
      now = now.filter((one) => one !== deployment)
      if (error.code === 'model_rate_limited') {
        const asked = error.retryAfterMs ?? usualCoolDownMs
        coolMs = Math.min(coolMs, Math.max(asked, shortestCoolDownMs), longestCoolDownMs)
      }
    }
  }
}

const failed = (error: AppError): Reached => ({ kind: 'failed', error })

/** Deployments of the same or a higher tier that hold more, the smallest step first. */
export function largerThan(deployment: Deployment, others: readonly Deployment[]): readonly Deployment[] {
  const rank = ({ tier }: Deployment): number => (tier === undefined ? 0 : tierNames.indexOf(tier))
  return others
    .filter((one) => one.context_tokens > deployment.context_tokens && rank(one) >= rank(deployment))
    .toSorted((a, b) => rank(a) - rank(b))
}

function tooLarge(url: LineUrl, body: RequestBody, tokens: number, whose: 'deployment' | 'tenant'): AppError {
  const limit = ['max_completion_tokens', 'max_tokens', 'max_output_tokens'].find((name) => body[name] !== undefined)
  const field = limit ?? (url === '/v1/chat/completions' ? 'messages' : 'input')
  const than = whose === 'tenant' ? 'the tenant may use' : 'any deployment allows'
  return new AppError('no_route', `The request may take ${tokens} tokens, more than ${than} in a minute.`, {
    param: `body.${field}`,
  })
}
