import type { Deployment, LineUrl, RequestBody } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { type Clock, withDeadline } from '@sluice/resilience'
import { OpenAI } from 'openai'
import { formBody, type Upload } from './form-body.ts'
import { createForwardClient } from './forward-client.ts'
import type { ModelAnswer } from './model-answer.ts'
import { createPooledFetch } from './pooled-fetch.ts'
import { soundCall } from './sound-call.ts'
import { streamCall } from './stream-call.ts'
import { translateError } from './translate-error.ts'
import { createUpstreamKeys, type UpstreamKeys } from './upstream-keys.ts'
import { estimatedSpeechUsage, readUsage } from './usage.ts'

export interface ModelCall {
  url: LineUrl
  body: RequestBody
  /** Sent as x-ms-client-request-id, which the provider's logs carry. */
  requestId: string
  traceparent?: string | undefined
  /** Less than the deployment's own timeout, when the request's deadline is nearer. */
  timeoutMs?: number | undefined
  /** The recording of a transcription. */
  upload?: Upload | undefined
  /**
   * Present: the model is asked for a stream, and each of its events comes here as it does, from the first that is
   * output on. An error after it finds the answer begun.
   */
  onDelta?: ((event: unknown) => void) | undefined
}

export interface Models {
  /**
   * Calls a deployment once; retries are the caller's, who knows what else could answer. A key that was refused and has
   * changed in its file meanwhile is the exception: the call is made again with the new one.
   * @throws AppError `model_rate_limited`, `model_unavailable`, `model_timeout`, `model_unauthorized`,
   * `context_length_exceeded`, `content_policy` or `model_rejected`; the signal's reason when it aborts.
   */
  call(deployment: Deployment, call: ModelCall, signal?: AbortSignal): Promise<ModelAnswer>
  /** Ends the connections; calls in flight get two seconds. */
  close(): Promise<void>
}

/** @param options.keys shared with others that call the same deployments; else made, and closed, in here */
export function createModels(options: {
  deployments: readonly Deployment[]
  clock: Clock
  keys?: UpstreamKeys | undefined
}): Models {
  const { deployments, clock } = options
  const keys = options.keys ?? createUpstreamKeys({ deployments, clock })
  const pooled = createPooledFetch()
  const streams = createForwardClient({ apiKeyOf: (deployment) => keys.of(deployment) })
  const clients = new Map(deployments.map((deployment) => [deployment.name, clientOf(deployment, pooled.fetch)]))

  const whole = async (deployment: Deployment, call: ModelCall, signal: AbortSignal | undefined) => {
    const client = clients.get(deployment.name)
    if (!client) throw new AppError('model_unavailable', `${deployment.name} is not configured.`)
    const { url, body, requestId, traceparent } = call
    let response: Response
    try {
      response = await client
        .post(url.slice('/v1'.length), {
          body: bodyFor(deployment, body),
          headers: {
            authorization: `Bearer ${keys.of(deployment)}`,
            'x-ms-client-request-id': requestId,
            ...(traceparent === undefined ? {} : { traceparent }),
          },
          timeout: timeoutOf(deployment, call),
          ...(signal === undefined ? {} : { signal }),
        })
        .asResponse()
    } catch (thrown) {
      signal?.throwIfAborted()
      throw translateError(thrown, deployment.name)
    }
    const { status, headers } = response
    const text = await response.text()
    const answer = parse(text, deployment.name)
    return { status, body: answer, text, header: (name: string) => headers.get(name), firstByteMs: undefined }
  }

  const streamed = async (deployment: Deployment, call: ModelCall, signal: AbortSignal | undefined) => {
    const { url, body, requestId, traceparent, onDelta = () => undefined } = call
    const asked = (body.stream_options as { include_usage?: unknown } | null | undefined)?.include_usage === true
    const timedOut = () => new AppError('model_timeout', `${deployment.name} did not answer in time.`)
    const end = await withDeadline(
      timeoutOf(deployment, call),
      signal,
      (deadline) =>
        streamCall({
          client: streams,
          deployment,
          call: {
            url,
            body: Buffer.from(JSON.stringify(streamingBody(bodyFor(deployment, body), url))),
            contentType: 'application/json',
            requestId,
            traceparent,
          },
          onDelta,
          handUsage: asked,
          signal: deadline,
          monotonic: () => clock.monotonic(),
        }),
      timedOut,
      clock,
    )
    const header = (name: string) => {
      const value = end.headers[name]
      return typeof value === 'string' ? value : null
    }
    return { status: end.status, body: end.body, text: undefined, header, firstByteMs: end.firstOutputMs }
  }

  /** Sound in or out: multipart bodies, and answers that may be anything. */
  const sound = async (deployment: Deployment, call: ModelCall, signal: AbortSignal | undefined) => {
    const { url, requestId, traceparent, upload } = call
    const { stream_format: _, ...body } = bodyFor(deployment, call.body)
    const timedOut = () => new AppError('model_timeout', `${deployment.name} did not answer in time.`)
    const made = async (deadline: AbortSignal) => {
      const payload =
        upload === undefined
          ? { contentType: 'application/json', body: Buffer.from(JSON.stringify(body)) }
          : formBody(body, upload, await upload.open(deadline))
      return soundCall(streams, deployment, { url, requestId, traceparent, ...payload }, deadline)
    }
    const answer = await withDeadline(timeoutOf(deployment, call), signal, made, timedOut, clock)
    const { status, contentType, bytes } = answer
    const isJson = contentType.startsWith('application/json')
    const header = (name: string) => {
      const value = answer.headers[name]
      return typeof value === 'string' ? value : null
    }
    const plain = contentType.startsWith('text/') ? bytes.toString('utf8') : bytes
    return {
      status,
      body: isJson ? parse(bytes.toString('utf8'), deployment.name) : plain,
      text: undefined,
      ...(isJson ? {} : { contentType }),
      header,
      firstByteMs: undefined,
    }
  }

  return {
    async call(deployment, call, signal) {
      signal?.throwIfAborted()
      const started = clock.monotonic()
      const once = () =>
        call.url.startsWith('/v1/audio/')
          ? sound(deployment, call, signal)
          : call.onDelta === undefined
            ? whole(deployment, call, signal)
            : streamed(deployment, call, signal)
      const answer = await once().catch(async (error: unknown) => {
        if (!(error instanceof AppError) || error.code !== 'model_unauthorized') throw error
        if (!(await keys.refresh(deployment))) throw error
        signal?.throwIfAborted()
        return once()
      })
      const { status, body, text, header, firstByteMs } = answer
      return {
        status,
        body,
        ...('contentType' in answer ? { contentType: answer.contentType } : {}),
        ...(text === undefined ? {} : { text }),
        remainingTokens: numberIn(header('x-ratelimit-remaining-tokens')),
        remainingRequests: numberIn(header('x-ratelimit-remaining-requests')),
        usage: Buffer.isBuffer(body) ? estimatedSpeechUsage(call.body) : readUsage(body),
        requestId: header('apim-request-id') ?? header('x-request-id') ?? call.requestId,
        ms: clock.monotonic() - started,
        firstByteMs,
      }
    },
    async close() {
      if (options.keys === undefined) keys.close()
      await Promise.all([pooled.close(2_000), streams.close(2_000)])
    },
  }
}

function clientOf(
  deployment: Deployment,
  fetch: (url: string | URL | Request, init?: RequestInit) => Promise<Response>,
) {
  return new OpenAI({
    baseURL: deployment.endpoint,
    // Each call brings the key of its moment.
    apiKey: 'none',
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

const timeoutOf = (deployment: Deployment, { timeoutMs }: ModelCall): number =>
  Math.min(deployment.timeout_ms, timeoutMs ?? Number.POSITIVE_INFINITY)

// An answer that is stored and delivered whole has nobody to stream to, unless somebody listens.
function bodyFor(deployment: Deployment, body: RequestBody): RequestBody {
  const { stream: _stream, stream_options: _streamOptions, ...rest } = body
  return { ...rest, model: deployment.azure_name ?? deployment.name }
}

/** Responses always tell their usage; chat completions only when they are asked to. */
const streamingBody = (body: RequestBody, url: LineUrl): RequestBody =>
  url === '/v1/chat/completions'
    ? { ...body, stream: true, stream_options: { include_usage: true } }
    : { ...body, stream: true }

function parse(text: string, deployment: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new AppError('model_unavailable', `${deployment} answered with something that is not JSON.`)
  }
}

function numberIn(text: string | null): number | undefined {
  const value = text === null || text === '' ? Number.NaN : Number(text)
  return Number.isFinite(value) ? value : undefined
}
