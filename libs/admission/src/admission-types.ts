/** A deployment that may take a request, with the quota that its provider counts. */
export interface Quota {
  name: string
  tokensPerMinute: number
  requestsPerMinute: number
}

/** Room for one call of one deployment. It is spent whether or not the call happens: providers refund nothing. */
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
}

export type Reservation =
  | Grant
  /** No candidate has room: the earliest moment, in ms from now, at which one of them has. */
  | { kind: 'later'; afterMs: number }
  /** The request alone is more than a minute's tokens of every candidate. */
  | { kind: 'never' }

interface ReserveInput {
  /** In the order of preference: the first one with room is granted. */
  candidates: readonly Quota[]
  /** The provider's estimate for the call, see {@link estimateTokens}. */
  tokens: number
  signal?: AbortSignal | undefined
}

/** Keeps calls within the deployments' quotas, over all workers that share a Redis. */
export interface Admission {
  /** One Redis round trip. @throws the signal's reason when it aborts first. */
  reserve(input: ReserveInput): Promise<Reservation>
  /**
   * The call was refused with 429: nobody gets room on its deployment for `ms`, and from then on only as fast as a full
   * window empties, until an answer tells what is left. Never rejects.
   */
  cooled(grant: Grant, ms: number): Promise<void>
  /**
   * Corrects the view of a deployment by what its answer's headers said. Asks Redis only when they tell something new.
   * Never rejects.
   */
  observed(grant: Grant, headers: { remainingTokens?: number | undefined }): Promise<void>
  /** Stops trying to reach Redis again. The client that was passed in stays open. */
  close(): void
}
