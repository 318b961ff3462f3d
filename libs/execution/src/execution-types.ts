import type { Upload } from '@sluice/models'
import type { Decision, Limits, LineUrl, Priority, RequestBody, SluiceOptions, Usage } from '@sluice/contracts'

export interface RunInput {
  requestId: string
  tenant: string
  url: LineUrl
  body: RequestBody
  /** The recording of a transcription. What opening or reading it throws is what `run` rejects with. */
  upload?: Upload | undefined
  options?: SluiceOptions | undefined
  /** The priority of a request whose options name none. */
  priority?: Priority | undefined
  /** Those of the key that submitted it, within its tenant's. */
  keyLimits?: (Limits & { principal: string }) | undefined
  /** Epoch ms after which an answer is worthless; `options.deadline` unless given. */
  deadline?: number | undefined
  /** The caller's trace; every call of a deployment is a child of it. */
  traceparent?: string | undefined
  /** Runs before each call, which does not happen when it throws; that error is what `run` rejects with. */
  onAttempt?: ((attempt: { deployment: string; number: number }) => void | Promise<void>) | undefined
  /**
   * When the request asks for a stream: the events of the answer, as the model's endpoint streams them, while they come.
   * After the first one nothing fails over; the answer in the outcome is the whole one all the same.
   */
  onDelta?: ((event: unknown) => void) | undefined
}

/** Why a request that could run has to wait. */
export type LaterReason =
  /** Quotas, slots and cool-downs of its deployments. */
  | 'full'
  /** Every deployment that may answer it failed just now. */
  | 'failing'
  /** The tenant's or the key's own limits. */
  | 'tenant'

/** What became of a request. */
export type Outcome =
  | {
      kind: 'done'
      status: 'succeeded' | 'failed'
      /** `content_type` is that of a body which is not JSON but a text, or sound as a Buffer. */
      response: { status_code: number; request_id: string; body: unknown; content_type?: string } | null
      error: { code: string; message: string; param: string | null } | null
      decision: Decision
      /** Of all answers, those that were not used included. */
      usage: Usage
      /** Of all answers, `wasteUsd` included. */
      costUsd: number
      /** What answers cost that were not used: a cascade's, or one that could not be. */
      wasteUsd: number
      /** What the answer's tokens cost on the large tier. */
      alwaysLargeUsd: number
      /** Time spent in calls of deployments. */
      modelMs: number
    }
  | {
      /** Nothing can take it now. */
      kind: 'later'
      afterMs: number
      reason: LaterReason
      decision: Decision
      modelMs: number
    }

export interface Execution {
  /**
   * Routes, reserves, calls, fails over and cascades until there is an answer, a final error or nobody left to ask.
   * @throws the signal's reason when it aborts; nothing else but what `onAttempt`, `onDelta` and `upload` throw.
   */
  run(input: RunInput, signal: AbortSignal): Promise<Outcome>
}
