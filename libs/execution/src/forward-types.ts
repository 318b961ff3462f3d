import type { Readable } from 'node:stream'
import type { TenantShare } from '@sluice/admission'
import type { Attempt, Deployment, DeploymentUrl, RequestBody, SluiceOptions, Usage } from '@sluice/contracts'
import type { AppError } from '@sluice/errors'

export interface ForwardInput {
  requestId: string
  tenant: string
  url: DeploymentUrl
  /** What routing and accounting read; of a multipart body the fields that were met. */
  body: RequestBody
  payload: ForwardPayload
  options?: SluiceOptions | undefined
  /** The limits of the tenant and its key. */
  shares?: readonly TenantShare[] | undefined
  /** Epoch ms after which an answer that has not begun is worthless; `options.deadline` unless given. */
  deadline?: number | undefined
  traceparent?: string | undefined
  /** What keeps its region from one call to the next. */
  conversation?: string | undefined
}

/** A body as it goes to a deployment. */
export interface ForwardPayload {
  contentType: string
  /** The caller did not ask for the usage that `bytes` asks for: it is counted and taken out of the stream. */
  stripUsage: boolean
  /**
   * @param model what the provider calls the deployment
   * @param added fields that Sluice sets
   * @returns undefined when it cannot be sent a second time
   */
  bytes(model: string, added: Readonly<Record<string, unknown>>): Buffer | Readable | undefined
}

/** What is known when the answer begins. */
export interface ForwardHead {
  status: number
  contentType: string
  /** Absent: the length is not known yet. */
  contentLength?: number | undefined
  deployment: { name: string; model: string; region: string; tier?: Deployment['tier'] }
  score: number | null
  /** What the tenant and its key have left after this call; absent without such limits. */
  limits?: ForwardLimits | undefined
  fromCache?: boolean
}

interface ForwardLimit {
  /** A minute. */
  limit: number
  left: number
  /** Until all of it is there again, if nothing more is taken. */
  resetMs: number
}

/** Limits a minute, and what is left of them. */
export interface ForwardLimits {
  requests?: ForwardLimit
  tokens?: ForwardLimit
}

/** The caller's connection. Nothing is called after `end` or `cut`; what is told to a caller that has gone is dropped. */
export interface ForwardSink {
  /** True once the caller has gone. */
  readonly closed: boolean
  onClose: (() => void) | undefined
  /** Set when there was no room: what the caller has left, for the answer that says so. */
  limits?: ForwardLimits | undefined
  /** Follows a `write` that answered false. */
  onDrain: (() => void) | undefined
  /** Once, before the first byte. */
  start(head: ForwardHead): void
  /** @returns whether there is room for more */
  write(chunk: Buffer): boolean
  end(last?: Buffer): void
  /** The answer that began cannot be completed, and has no form for saying so. */
  cut(): void
}

/** What became of a request whose answer began. */
export interface ForwardReport {
  /** `broken`: the upstream failed after the answer had begun; `aborted`: the caller left, or stopped reading. */
  outcome: 'answered' | 'broken' | 'aborted'
  error?: AppError | undefined
  /** Absent when the caller left before there was one. */
  deployment?: Deployment | undefined
  score: number | null
  readonly why: string
  attempts: readonly Attempt[]
  usage?: Usage | undefined
  costUsd: number
  /** Time spent waiting for room. */
  waitedMs: number
}

export interface Forwarder {
  /**
   * Routes, reserves and forwards, failing over until output begins. What happens from then on is told to the caller in
   * the stream and to the owner in the report.
   * @throws AppError when no answer began: a provider's refusal, `no_capacity` and `rate_limited` with the exact
   * `retryAfterMs`, `deadline_exceeded`, what routing throws, `shutting_down`
   */
  forward(input: ForwardInput, sink: ForwardSink): Promise<ForwardReport>
  /** Calls in flight. */
  readonly inFlight: number
  /** Ends every open call with an honest error. */
  interrupt(): void
  /** Ends the connections; calls in flight get two seconds. */
  close(): Promise<void>
}
