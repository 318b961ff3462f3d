import type { AppError } from './app-error.ts'
import { type ErrorCode, errorCodes } from './error-codes.ts'

/** The body of an error answer in OpenAI's shape, which the openai SDKs turn into their error classes. */
export interface OpenAIErrorBody {
  error: { message: string; type: string; param: string | null; code: ErrorCode }
}

// An internal error's message may quote a driver, a host or a statement: the caller gets the request id instead.
const hidden: ReadonlySet<ErrorCode> = new Set(['internal', 'storage_unavailable', 'queue_unavailable'])

/** @returns OpenAI's error object for an error; the messages of internal ones are withheld. */
export function openAIErrorBody(error: AppError): OpenAIErrorBody {
  const message = hidden.has(error.code)
    ? 'The request could not be handled right now; retry with the same Idempotency-Key.'
    : error.message
  return { error: { message, type: errorCodes[error.code].type, param: error.param ?? null, code: error.code } }
}
