import type { AppError } from '@sluice/errors'
import { APIError } from 'openai'
import { translateError } from './translate-error.ts'

type RawHeaders = Readonly<Record<string, string | string[] | undefined>>

/**
 * An answer that is an error, as the same AppError that the buffered path makes of it.
 * @param body as much of it as was read; anything but JSON in OpenAI's shape counts as nothing said
 */
export function refusal(deployment: string, status: number, headers: RawHeaders, body: Buffer): AppError {
  const fields = new Headers()
  for (const name of ['retry-after', 'retry-after-ms']) {
    const value = headers[name]
    if (typeof value === 'string') fields.set(name, value)
  }
  // A redirect is no answer that a caller could use.
  const said = status < 400 ? 502 : status
  return translateError(new APIError(said, errorObject(body), undefined, fields), deployment)
}

/** A call that got no answer, or lost it half way. @param thrown what undici reported */
export function connectionFailure(deployment: string, thrown: unknown): AppError {
  return translateError(Object.assign(new Error('no answer'), { cause: thrown }), deployment)
}

/** What a stream says with an error event: another deployment may do better unless the request is to blame. */
export function streamFailure(deployment: string, said: { code?: unknown; message?: unknown }): AppError {
  const status = statuses.get(typeof said.code === 'string' ? said.code : '') ?? 503
  return refusal(deployment, status, {}, Buffer.from(JSON.stringify({ error: said })))
}

const statuses = new Map([
  ['rate_limit_exceeded', 429],
  ['content_filter', 400],
  ['invalid_prompt', 400],
  ['context_length_exceeded', 400],
  ['invalid_request_error', 400],
])

function errorObject(body: Buffer): object | undefined {
  try {
    const { error } = JSON.parse(body.toString('utf8')) as { error?: unknown }
    return typeof error === 'object' && error !== null ? error : undefined
  } catch {
    return undefined
  }
}
