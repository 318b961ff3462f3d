import { AppError, type ErrorCode } from '@sluice/errors'
import { APIConnectionTimeoutError, APIError } from 'openai'

const longestRetryMs = 86_400_000

/**
 * A failed call as an AppError. Nothing of the request, of its headers or of the prompt gets into it; only a rejected
 * request quotes the provider's sentence, which is about the caller's own fields.
 * @param thrown what the openai SDK threw
 */
export function translateError(thrown: unknown, deployment: string): AppError {
  if (thrown instanceof APIConnectionTimeoutError) {
    return new AppError('model_timeout', `${deployment} did not answer in time.`)
  }
  if (!(thrown instanceof APIError) || typeof thrown.status !== 'number') {
    return new AppError('model_unavailable', `${deployment} could not be reached${causeOf(thrown)}.`)
  }
  const { status } = thrown
  const answer = readAnswer(thrown)
  const retryAfterMs = retryAfter(thrown.headers, Date.now())
  const fail = (code: ErrorCode, message: string, more: { param?: string; status?: number } = {}) =>
    new AppError(code, message, {
      ...more,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      cause: { upstreamStatus: status },
    })
  if (status === 429) return fail('model_rate_limited', `${deployment} has reached its rate limit.`)
  if (status === 401 || status === 403) return fail('model_unauthorized', `${deployment} refuses its key (${status}).`)
  if (status === 408 || status >= 500) return fail('model_unavailable', `${deployment} failed with ${status}.`)
  // A 404 about a field of the request (a stored response, say) is the caller's; any other means the deployment is gone.
  if (status === 404 && answer.param === undefined) {
    return fail('model_unavailable', `${deployment} does not exist at its endpoint.`)
  }
  const param = answer.param === undefined ? {} : { param: `body.${answer.param}` }
  if (answer.code === 'context_length_exceeded') return fail('context_length_exceeded', answer.message, param)
  if (answer.code === 'content_filter') {
    const which = answer.categories.length === 0 ? '' : ` (${answer.categories.join(', ')})`
    return fail('content_policy', `The provider's content policy refused the request${which}.`)
  }
  return fail('model_rejected', answer.message, { ...param, status })
}

/** The HTTP status that a failed call was answered with; 0 when no answer came. */
export const upstreamStatus = (error: AppError): number => {
  const status = objectOf(error.cause).upstreamStatus
  return typeof status === 'number' ? status : 0
}

interface ErrorAnswer {
  code: string | undefined
  param: string | undefined
  message: string
  categories: string[]
}

function readAnswer({ error, status }: APIError): ErrorAnswer {
  const body = objectOf(error)
  const filters = objectOf(objectOf(body.innererror).content_filter_result)
  return {
    code: textOf(body.code),
    param: textOf(body.param),
    message: textOf(body.message)?.slice(0, 500) ?? `The provider refused the request with ${status}.`,
    categories: Object.keys(filters).filter((name) => objectOf(filters[name]).filtered === true),
  }
}

/** Azure sends both headers; the first is exact. https://www.rfc-editor.org/rfc/rfc9110#name-retry-after */
function retryAfter(headers: { get(name: string): string | null } | undefined, now: number): number | undefined {
  const exact = Number(headers?.get('retry-after-ms') ?? Number.NaN)
  if (exact >= 0) return Math.min(exact, longestRetryMs)
  const text = headers?.get('retry-after') ?? ''
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(0, ms), longestRetryMs)
}

/** The system's name for it, such as ECONNREFUSED: safe to show, unlike a message with hosts and paths. */
function causeOf(thrown: unknown): string {
  const code = textOf(objectOf(objectOf(thrown).cause).code)
  return code === undefined ? '' : ` (${code})`
}

const objectOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)
