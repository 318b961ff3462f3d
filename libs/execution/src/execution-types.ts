import type { Decision, LineUrl, RequestBody, SluiceOptions, Usage } from '@sluice/contracts'

export interface RunInput {
  requestId: string
  tenant: string
  url: LineUrl
  body: RequestBody
  options?: SluiceOptions | undefined
  /** Epoch ms after which an answer is worthless; `options.deadline` unless given. */
  deadline?: number | undefined
  /** The caller's trace; every call of a deployment is a child of it. */
  traceparent?: string | undefined
  /** Runs before each call, which does not happen when it throws; that error is what `run` rejects with. */
  onAttempt?: ((attempt: { deployment: string; number: number }) => void | Promise<void>) | undefined
}

/** What became of a request. */
export type Outcome =
  | {
      kind: 'done'
      status: 'succeeded' | 'failed'
      response: { status_code: number; request_id: string; body: unknown } | null
      error: { code: string; message: string; param: string | null } | null
      decision: Decision
      usage: Usage
      costUsd: number
      /** What the same tokens cost on the large tier. */
      alwaysLargeUsd: number
      /** Time spent in calls of deployments. */
      modelMs: number
    }
  | {
      /** Nothing can take it now. */
      kind: 'later'
      afterMs: number
      /** `full`: quotas; `failing`: every deployment that may answer it failed just now. */
      reason: 'full' | 'failing'
      decision: Decision
      modelMs: number
    }

export interface Execution {
  /**
   * Routes, reserves, calls and fails over until there is an answer, a final error or nobody left to ask.
   * @throws the signal's reason when it aborts; nothing else but what `onAttempt` throws.
   */
  run(input: RunInput, signal: AbortSignal): Promise<Outcome>
}
