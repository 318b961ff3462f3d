import { type ErrorCode, errorCodes } from './error-codes.ts'

export interface AppErrorOptions {
  /** The field of the input that is at fault, as a path such as `body.messages[0].role`. */
  param?: string
  /** Earliest sensible retry, in milliseconds from now. */
  retryAfterMs?: number
  /** HTTP status to answer instead of the code's own (an upstream status that is passed through). */
  status?: number
  cause?: unknown
}

/**
 * The one error that crosses package borders. Vendor errors are translated into it once, at the edge that met them;
 * what a caller may do about it (retry, fail over, dead-letter) follows from the code alone.
 */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly param: string | undefined
  readonly retryAfterMs: number | undefined
  readonly status: number

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.param = options.param
    this.retryAfterMs = options.retryAfterMs
    this.status = options.status ?? errorCodes[code].status
  }

  get disposition() {
    return errorCodes[this.code].disposition
  }
}

/** Any thrown value as an AppError: itself when it is one, else `fallback` with the value as its cause. */
export function toAppError(thrown: unknown, fallback: ErrorCode = 'internal'): AppError {
  if (thrown instanceof AppError) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new AppError(fallback, message, { cause: thrown })
}
