import type { Grant } from '@sluice/admission'
import type { Deployment, RequestBody } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { type ModelAnswer, type Models, type Upload, upstreamStatus } from '@sluice/models'
import type { Clock } from '@sluice/resilience'
import { type Logger, startSpan } from '@sluice/telemetry'
import type { createCallMetrics } from './call-metrics.ts'
import type { RunInput } from './execution-types.ts'
import type { Journal } from './journal.ts'
import { createSuspects } from './suspects.ts'

/** What one call of one deployment came to. */
export type Call =
  | { kind: 'answered'; answer: ModelAnswer }
  /** `begun`: some of the answer has already been handed on. */
  | { kind: 'failed'; error: AppError; begun: boolean }

export interface CallOptions {
  deployment: Deployment
  grant: Grant
  body: RequestBody
  /** Time left until the request's deadline. */
  slackMs: number
  /** Whether the answer may be streamed to the caller. */
  streamed: boolean
}

/** Makes one call and tells everybody who has to know: the grant, the journal, the metrics and the log. */
export function createDeploymentCaller(options: {
  models: Models
  /** Aborts with an error that fails over when a deployment's machine is taken away; absent: it has none that may be. */
  evictionOf?: ((deployment: string) => AbortSignal | undefined) | undefined
  counted: ReturnType<typeof createCallMetrics>
  logger: Logger
  clock: Clock
}) {
  const { models, evictionOf, counted, logger, clock } = options
  const suspects = createSuspects(clock)

  return async function callDeployment(
    { deployment, grant, body, slackMs, streamed }: CallOptions,
    input: RunInput,
    journal: Journal,
    signal: AbortSignal,
  ): Promise<Call> {
    const { url, requestId, onDelta } = input
    const started = clock.monotonic()
    let begun = false
    // Storage that fails half way says nothing about the deployment, and no other one would fare better.
    const read = input.upload === undefined ? undefined : watchedUpload(input.upload)
    const hand = (event: unknown) => {
      begun = true
      onDelta?.(event)
    }
    try {
      await input.onAttempt?.({ deployment: deployment.name, number: journal.attempts.length + 1 })
    } catch (error) {
      grant.end({ outcome: 'aborted', ms: 0 })
      throw error
    }
    const span = startSpan('model.call', { parent: input.traceparent, attributes: { deployment: deployment.name } })
    try {
      const call = { url, body, requestId, traceparent: span.traceparent, timeoutMs: slackMs, upload: read?.upload }
      const eviction = evictionOf?.(deployment.name)
      const stop = eviction === undefined ? signal : AbortSignal.any([signal, eviction])
      const answer = await models.call(deployment, streamed ? { ...call, onDelta: hand } : call, stop)
      span.end()
      const { ms, firstByteMs, usage, remainingTokens } = answer
      grant.end({ outcome: 'ok', ms, firstByteMs, usage, remainingTokens })
      suspects.answered(deployment.name, input.tenant)
      journal.attempted(deployment, answer.status, ms)
      counted.called(deployment, 'ok', ms)
      return { kind: 'answered', answer }
    } catch (error) {
      span.end(error)
      const ms = clock.monotonic() - started
      const unread = read?.failure()
      const known = error instanceof AppError && unread === undefined && !signal.aborted ? error : undefined
      // A call that the request's own deadline cut short says nothing about its deployment.
      const cut = known?.code === 'model_timeout' && slackMs < deployment.timeout_ms
      const status = known === undefined ? 0 : upstreamStatus(known)
      const ownFault = suspects.isToBlame(deployment.name, input.tenant, status, journal.attempts)
      const outcome = known === undefined || cut || ownFault ? 'aborted' : known.code
      grant.end({ outcome, ms, ...(known?.retryAfterMs === undefined ? {} : { retryAfterMs: known.retryAfterMs }) })
      signal.throwIfAborted()
      if (known === undefined) throw unread ?? error
      journal.attempted(deployment, status, ms, known.code)
      counted.called(deployment, known.code, ms)
      const fields = { requestId, tenant: input.tenant, deployment: deployment.name, code: known.code, ms }
      logger.warn(fields, 'a deployment did not answer')
      return { kind: 'failed', error: known, begun }
    }
  }
}

/** The same upload, and what kept it from being read while the call was still wanted. */
function watchedUpload(upload: Upload): { upload: Upload; failure: () => unknown } {
  let failure: unknown
  const watched = async function* (signal: AbortSignal, begin: () => Promise<AsyncIterable<Uint8Array>>) {
    try {
      yield* await begin()
    } catch (error) {
      if (!signal.aborted) failure = error
      throw error
    }
  }
  const open: Upload['open'] = async (signal) => watched(signal, () => upload.open(signal))
  return { upload: { ...upload, open }, failure: () => failure }
}
