import { invalidRequest } from '../http/azure-error.ts'
import type { Json } from '../json-fields.ts'

interface Listed {
  id: string
  created_at: number
}

/** One page of a list in OpenAI's shape: `limit`, `after` and `order` as the query says, newest first without it. */
export function listPage<T extends Listed>(rows: readonly T[], query: URLSearchParams, show: (row: T) => object): Json {
  const limit = Number(query.get('limit') ?? query.get('$top') ?? 100)
  if (!Number.isInteger(limit) || limit < 1 || limit > 10_000) {
    throw invalidRequest("Invalid 'limit': expected an integer between 1 and 10000.", 'limit', 'invalid_value')
  }
  const ascending = query.get('order') === 'asc'
  // Rows are kept in order of creation, so equal seconds keep that order too.
  const ordered = ascending ? [...rows] : rows.toReversed()
  const after = query.get('after')
  const start = after === null ? 0 : ordered.findIndex((row) => row.id === after) + 1
  if (after !== null && start === 0) throw invalidRequest(`No object found with id '${after}'.`, 'after')
  const page = ordered.slice(start, start + limit)
  return {
    object: 'list',
    data: page.map(show),
    first_id: page[0]?.id ?? null,
    last_id: page.at(-1)?.id ?? null,
    has_more: start + limit < ordered.length,
  }
}
