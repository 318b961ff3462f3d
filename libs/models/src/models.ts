import type { Deployment, LineUrl, RequestBody } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import { OpenAI } from 'openai'
import type { ModelAnswer } from './model-answer.ts'
import { createPooledFetch } from './pooled-fetch.ts'
import { translateError } from './translate-error.ts'
import { readUsage } from './usage.ts'

export interface ModelCall {
  url: LineUrl
  body: RequestBody
  /** Sent as x-ms-client-request-id, which the provider's logs carry. */
  requestId: string
  traceparent?: string | undefined
  /** Less than the deployment's own timeout, when the request's deadline is nearer. */
  timeoutMs?: number | undefined
}

export interface Models {
  /**
   * Calls a deployment once; retries are the caller's, who knows what else could answer.
   * @throws AppError `model_rate_limited`, `model_unavailable`, `model_timeout`, `model_unauthorized`,
   * `context_length_exceeded`, `content_policy` or `model_rejected`; the signal's reason when it aborts.
   */
  call(deployment: Deployment, call: ModelCall, signal?: AbortSignal): Promise<ModelAnswer>
  /** Ends the connections; calls in flight get two seconds. */
  close(): Promise<void>
}

export function createModels(options: { deployments: readonly Deployment[]; clock: Clock }): Models {
  const { deployments, clock } = options
  const pooled = createPooledFetch()
  const clients = new Map(deployments.map((deployment) => [deployment.name, clientOf(deployment, pooled.fetch)]))

  return {
    async call(deployment, { url, body, requestId, traceparent, timeoutMs }, signal) {
      const client = clients.get(deployment.name)
      if (!client) throw new AppError('model_unavailable', `${deployment.name} is not configured.`)
      signal?.throwIfAborted()
      const started = clock.monotonic()
      let response: Response
      try {
        response = await client
          .post(url.slice('/v1'.length), {
            body: bodyFor(deployment, body),
            headers: { 'x-ms-client-request-id': requestId, ...(traceparent === undefined ? {} : { traceparent }) },
            timeout: Math.min(deployment.timeout_ms, timeoutMs ?? Number.POSITIVE_INFINITY),
            ...(signal === undefined ? {} : { signal }),
          })
          .asResponse()
      } catch (thrown) {
        signal?.throwIfAborted()
        throw translateError(thrown, deployment.name)
      }
      const text = await response.text()
      const answer = parse(text, deployment.name)
      const { headers } = response
      return {
        status: response.status,
        body: answer,
        remainingTokens: numberIn(headers, 'x-ratelimit-remaining-tokens'),
        remainingRequests: numberIn(headers, 'x-ratelimit-remaining-requests'),
        usage: readUsage(answer),
        requestId: headers.get('apim-request-id') ?? headers.get('x-request-id') ?? requestId,
        ms: clock.monotonic() - started,
      }
    },
    close: () => pooled.close(2_000),
  }
}

function clientOf(
  deployment: Deployment,
  fetch: (url: string | URL | Request, init?: RequestInit) => Promise<Response>,
) {
  return new OpenAI({
    baseURL: deployment.endpoint,
    apiKey: deployment.api_key,
    // The SDK would take these from the environment.
    organization: null,
    project: null,
    adminAPIKey: null,
    webhookSecret: null,
    logLevel: 'off',
    maxRetries: 0,
    fetch,
  })
}

// An answer that is stored and delivered whole has nobody to stream to.
function bodyFor(deployment: Deployment, body: RequestBody): RequestBody {
  const { stream: _stream, stream_options: _streamOptions, ...rest } = body
  return { ...rest, model: deployment.azure_name ?? deployment.name }
}

function parse(text: string, deployment: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new AppError('model_unavailable', `${deployment} answered with something that is not JSON.`)
  }
}

function numberIn(headers: Headers, name: string): number | undefined {
  const text = headers.get(name)
  const value = text === null || text === undefined || text === '' ? Number.NaN : Number(text)
  return Number.isFinite(value) ? value : undefined
}
