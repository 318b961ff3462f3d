import { AppError } from '@sluice/errors'

/**
 * The refusals that are part of the protocol, for the caller to act on.
 * - `exists`: a create met a row of that id (409).
 * - `missing`: no such row (404).
 * - `condition_failed`: the row is not as the condition says (412).
 */
export type CosmosAnswer = { kind: 'exists' } | { kind: 'missing' } | { kind: 'condition_failed' }

/**
 * Reads whatever the SDK threw.
 * @throws AppError for everything that is no answer: `storage_unavailable` (throttled, unreachable, 5xx, too late),
 * `message_too_large`, `internal` (refused: a mistake of ours or missing rights)
 */
export function translateCosmos(thrown: unknown): CosmosAnswer {
  if (thrown instanceof AppError) throw thrown
  const { code, retryAfterInMs } = (thrown ?? {}) as { code?: unknown; retryAfterInMs?: unknown }
  switch (code) {
    case 404:
      return { kind: 'missing' }
    case 409:
      return { kind: 'exists' }
    case 412:
      return { kind: 'condition_failed' }
    case 413:
      throw new AppError('message_too_large', 'The row exceeds what Cosmos DB stores.', {
        param: 'body',
        cause: thrown,
      })
    case 429: {
      const retryAfterMs = typeof retryAfterInMs === 'number' ? retryAfterInMs : defaultRetryMs
      throw new AppError('storage_unavailable', 'Cosmos DB is throttling.', { retryAfterMs, cause: thrown })
    }
    case 400:
    case 401:
    case 403:
      throw new AppError('internal', `Cosmos DB refused (${code}): ${firstLine(thrown)}`, { cause: thrown })
    default:
      throw new AppError('storage_unavailable', `Cosmos DB did not answer: ${firstLine(thrown)}`, {
        retryAfterMs: defaultRetryMs,
        cause: thrown,
      })
  }
}

const defaultRetryMs = 1000

// What follows the first line of a service's message is the request's diagnostics.
const firstLine = (thrown: unknown) =>
  (thrown instanceof Error ? thrown.message : String(thrown)).split('\n', 1)[0]?.slice(0, 300)
