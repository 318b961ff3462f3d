import type { Deployment, Priority, Usage } from '@sluice/contracts'
import type { ErrorCode } from '@sluice/errors'

/** A deployment that may take a request, with the quota that its provider counts. */
export interface Quota {
  name: string
  tokensPerMinute: number
  requestsPerMinute: number
  /** Calls in flight over all workers. Without it calls take no slots, and the limit does not adapt. */
  maxConcurrency?: number | undefined
  /** A provisioned deployment's tokens are corrected to what a call really used; no other kind gives any back. */
  kind?: Deployment['kind'] | undefined
}

/** What a tenant (`contoso`) or one of its keys (`contoso/key-7`) may use; an absent limit is none. */
export interface TenantShare {
  name: string
  requestsPerMinute?: number | undefined
  /** Corrected to what a call really used when it ends. */
  tokensPerMinute?: number | undefined
  /** Calls in flight over all workers and doors. */
  concurrency?: number | undefined
}

/** How a call ended, see {@link Grant.end}. */
export interface CallEnd {
  /**
   * `ok`, the code of the error that the deployment answered with, or `aborted` when it never had the chance to answer:
   * the caller went away, or the request's own deadline cut the call short.
   */
  outcome: 'ok' | 'aborted' | ErrorCode
  /** From the call to the last byte. */
  ms: number
  /** From the call to the first byte or token of a stream: a better measure of the deployment's load than `ms`. */
  firstByteMs?: number | undefined
  /** What a 429 asked for. */
  retryAfterMs?: number | undefined
  /** What the answer's headers said is left. Given to {@link Admission.observed} or here, not to both. */
  remainingTokens?: number | undefined
  /** Absent when the provider did not say: then the estimate stands. */
  usage?: Usage | undefined
}

/**
 * Room for one call of one deployment. A provider's quota is spent whether or not the call happens; the slots are held,
 * and renewed, until `end`.
 */
export interface Grant {
  kind: 'granted'
  deployment: string
  quota: Quota
  tokens: number
  /** Time of the windows at the grant: Redis TIME, epoch ms; undefined when Redis was not asked. */
  atMs: number | undefined
  /** Tokens that the windows held after the grant, this call included. */
  usedTokens: number
  /** Tokens that were assumed to be used by somebody else. */
  unseenTokens: number
  /** Share of the deployment's tokens in use after the grant, 0 to 1. */
  utilisation: number
  /**
   * What is left of the tenant's or its key's minute after the grant, the least of both; absent without such a limit.
   * `resetMs`: until the whole minute's allowance is there again, if nothing more is taken.
   */
  tenantLeft: { requests?: number; tokens?: number; resetMs?: number }
  /**
   * Releases the slots, corrects the tenant's tokens, and teaches the deployment's limit, cool-down and breaker. Every
   * grant is ended exactly once, whatever happens; a second call does nothing. Never throws, never waits.
   */
  end(call: CallEnd): void
}

/**
 * Why there is no room. `deployment`: its quota or a cool-down; `tenant`: the tenant's or the key's own limits;
 * `concurrency`: no slot; `breaker`: it failed too often; `drained`: an operator or an eviction took it out.
 */
export type RefusalReason = 'deployment' | 'tenant' | 'concurrency' | 'breaker' | 'drained'

export type Reservation =
  | Grant
  /**
   * No room now. `afterMs`: the earliest moment, from now, at which there is some, if nobody else takes it; exact, except
   * for slots, which nobody can foresee: then the mean time between two that become free, 20 to 1,000 ms.
   */
  /** `tenantLeft` comes with the reason `tenant`, while Redis is there. */
  | { kind: 'later'; afterMs: number; reason: RefusalReason; tenantLeft?: Grant['tenantLeft'] }
  /** The request alone is more than a minute's tokens of every candidate, or of its tenant. */
  | { kind: 'never'; reason: 'deployment' | 'tenant' }

export interface ReserveInput {
  /** In the order of preference: the first one with room is granted. */
  candidates: readonly Quota[]
  /** The tenant's limits and its key's. All of them and the deployment's are taken, or none. */
  tenant?: readonly TenantShare[] | undefined
  /** The provider's estimate for the call, see {@link estimateTokens}. */
  tokens: number
  /**
   * `standard` and `bulk` calls spread evenly over a deployment's minute, so that there is always room for the next
   * `interactive` one (and for one without a priority), which may take what is left at once.
   */
  priority?: Priority | undefined
  signal?: AbortSignal | undefined
}

export type BreakerState = 'closed' | 'open' | 'half_open' | 'recovering'

/** A deployment as all workers see it. */
export interface DeploymentState {
  deployment: string
  breaker: BreakerState
  /** Epoch ms; undefined for a deployment that never left `closed`. */
  breakerSinceMs: number | undefined
  /** The adaptive limit of calls in flight, at most `maxConcurrency`; undefined without one. */
  concurrencyLimit: number | undefined
  slotsInUse: number
  /** Tokens of the current window, those included that somebody else is assumed to have used. */
  usedTokens: number
  tokensPerMinute: number
  /** How long a refusal still keeps everybody away; 0 when none does. */
  coolForMs: number
  /** Present while drained. `untilMs` is epoch ms; absent until somebody undrains it. */
  drained: { reason: string; untilMs: number | undefined } | undefined
}

/** Keeps calls within the deployments' quotas, over all workers that share a Redis. */
export interface Admission {
  /**
   * One Redis round trip, or none where room was reserved ahead. @throws the signal's reason when it aborts first; a slot that Redis granted all the same is
   * free when its lease ends.
   */
  reserve(input: ReserveInput): Promise<Reservation>
  /**
   * The call was refused with 429: nobody gets room on its deployment for `ms`, and from then on only as fast as a full
   * window empties, until an answer tells what is left. Never rejects. `end` does it too.
   */
  cooled(grant: Grant, ms: number): Promise<void>
  /**
   * Corrects the view of a deployment by what its answer's headers said, before the call has ended. Asks Redis only when
   * they tell something new. Never rejects.
   */
  observed(grant: Grant, headers: { remainingTokens?: number | undefined }): Promise<void>
  /**
   * How full deployments are, without asking anybody: the larger of their shares of tokens and slots, from 0 to 1, and 1
   * for those that take no call now (open, drained, cooling). About a second old; 0 for names never asked for.
   */
  utilisation(names: readonly string[]): Map<string, number>
  /** @throws AppError `storage_unavailable` while Redis is out of reach. */
  states(deployments: readonly Quota[]): Promise<DeploymentState[]>
  /**
   * Stops new calls of a deployment in every worker, within 25 ms; what is in flight goes on. A Redis that lost its memory
   * forgets it. @param untilMs epoch ms; absent: until `undrain`. @throws AppError `storage_unavailable`.
   */
  drain(deployment: string, order: { reason: string; untilMs?: number | undefined }): Promise<void>
  /** @returns whether it was drained. @throws AppError `storage_unavailable`. */
  undrain(deployment: string): Promise<boolean>
  /** Stops trying to reach Redis again, and renewing slots. The client that was passed in stays open. */
  close(): void
}

/** A configured deployment as admission sees it. */
export const quotaOf = ({ name, quota, max_concurrency, kind }: Deployment): Quota => ({
  name,
  tokensPerMinute: quota.tokens_per_minute,
  requestsPerMinute: quota.requests_per_minute,
  maxConcurrency: max_concurrency,
  kind,
})
