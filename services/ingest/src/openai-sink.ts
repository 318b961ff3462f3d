import type { IncomingMessage, ServerResponse } from 'node:http'
import { AppError, openAIErrorBody } from '@sluice/errors'
import type { ForwardHead, ForwardLimits, ForwardSink } from '@sluice/execution'
import { AnswerBytes } from './answer-bytes.ts'
import { discardBody } from './discard-body.ts'
import { limitHeaders } from './limit-headers.ts'

/** The caller's side of a synchronous call: heads in Sluice's form, the answer's bytes as they come. */
export class OpenAISink implements ForwardSink {
  onClose: (() => void) | undefined
  onDrain: (() => void) | undefined
  limits: ForwardLimits | undefined
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #headers: readonly string[]
  readonly #bytes: AnswerBytes

  /** @param headers names and values in turn, for whatever is answered */
  constructor(request: IncomingMessage, response: ServerResponse, headers: readonly string[]) {
    this.#request = request
    this.#response = response
    this.#headers = headers
    this.#bytes = new AnswerBytes(response)
    response.on('close', () => this.onClose?.())
    response.on('drain', () => this.onDrain?.())
  }

  get closed(): boolean {
    return this.#response.closed || this.#response.destroyed
  }

  get status(): number {
    return this.#response.statusCode
  }

  start({ status, contentType, contentLength, deployment, score, limits, fromCache }: ForwardHead): void {
    if (this.closed) return
    const { name, model, region, tier } = deployment
    const headers = [
      'content-type',
      contentType,
      ...this.#headers,
      'x-sluice-deployment',
      name,
      'x-sluice-model',
      model,
      'x-sluice-region',
      region,
    ]
    if (contentLength !== undefined) headers.push('content-length', String(contentLength))
    if (tier !== undefined) headers.push('x-sluice-tier', tier)
    if (score !== null) headers.push('x-sluice-score', score.toFixed(3))
    if (limits !== undefined) headers.push(...limitHeaders(limits))
    if (fromCache === true) headers.push('x-sluice-cache', 'hit')
    // nginx and its kind would gather a stream's events.
    if (contentType.startsWith('text/event-stream'))
      headers.push('cache-control', 'no-cache', 'x-accel-buffering', 'no')
    this.#bytes.head(status, headers)
  }

  write(chunk: Buffer): boolean {
    return this.closed || this.#bytes.write(chunk)
  }

  end(last?: Buffer): void {
    if (!this.closed) this.#bytes.end(last)
  }

  // A reset, or an end without the last chunk: both sides of HTTP count as an answer that is not complete.
  cut(): void {
    this.#response.destroy()
  }

  /** Answers with an error, after what the caller is still sending. */
  async refuse(thrown: AppError): Promise<void> {
    if (this.closed || this.#response.headersSent) return
    const error = outward(thrown)
    const headers = ['content-type', 'application/json', ...this.#headers]
    const { retryAfterMs } = error
    if (retryAfterMs !== undefined) headers.push('retry-after-ms', String(Math.ceil(retryAfterMs)))
    if (retryAfterMs !== undefined || error.status === 503) {
      headers.push('retry-after', String(Math.max(1, Math.ceil((retryAfterMs ?? 1000) / 1000))))
    }
    if (this.limits !== undefined && error.status === 429) headers.push(...limitHeaders(this.limits))
    if (error.code === 'unauthorized') headers.push('www-authenticate', 'Bearer')
    await discardBody(this.#request)
    if (this.closed) return
    // What is left of the body would be read as the next request.
    if (!this.#request.complete || error.code === 'shutting_down') headers.push('connection', 'close')
    const text = JSON.stringify(openAIErrorBody(error))
    headers.push('content-length', String(Buffer.byteLength(text)))
    this.#response.writeHead(error.status, headers)
    this.#response.end(text)
  }
}

/** Fields of a line are called `body.…`; a synchronous caller knows only the body. */
function outward(error: AppError): AppError {
  const { code, message, param, retryAfterMs, status } = error
  if (param === undefined || !param.startsWith('body.')) return error
  const more = retryAfterMs === undefined ? {} : { retryAfterMs }
  return new AppError(code, message.replaceAll('body.', ''), { param: param.slice('body.'.length), status, ...more })
}
