import { AppError } from '@sluice/errors'

/** Blob Storage's errors in our words; an AppError passes as it is. */
export function translateBlob(thrown: unknown): unknown {
  if (thrown instanceof AppError) return thrown
  const { statusCode } = (thrown ?? {}) as { statusCode?: number }
  if (statusCode === 404) {
    return new AppError('body_ref_not_found', 'body_ref.blob: there is no such blob', {
      param: 'body_ref.blob',
      cause: thrown,
    })
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500 && statusCode !== 408 && statusCode !== 429) {
    return new AppError('internal', `Blob Storage refused the operation (${statusCode}).`, { cause: thrown })
  }
  return new AppError('storage_unavailable', 'Blob Storage did not answer.', { cause: thrown, retryAfterMs: 1000 })
}
