import { createHash } from 'node:crypto'
import { badRequest } from '../cosmos-error.ts'
import { isJsonObject } from '../json.ts'
import type { Position } from './sort-keys.ts'

/** Either a position among the items, or how many results came before (queries whose results are not items). */
export type Continuation = { position: Position } | { skip: number }

const fingerprint = (query: string): string => createHash('sha256').update(query).digest('base64url').slice(0, 8)

export const encodeContinuation = (continuation: Continuation, query: string): string =>
  Buffer.from(JSON.stringify({ ...continuation, query: fingerprint(query) })).toString('base64url')

/** Throws 400 for a token that is not ours or belongs to another query. */
export const decodeContinuation = (token: string, query: string): Continuation => {
  const invalid = badRequest('Invalid Continuation Token.')
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(token, 'base64url').toString())
  } catch {
    throw invalid
  }
  if (!isJsonObject(value) || value['query'] !== fingerprint(query)) throw invalid
  const { position, skip } = value
  if (typeof skip === 'number' && Number.isInteger(skip) && skip >= 0) return { skip }
  if (!isJsonObject(position) || !Array.isArray(position['keys']) || typeof position['sequence'] !== 'number')
    throw invalid
  const keys = position['keys'].map((key) => {
    if (key !== null && typeof key !== 'string' && typeof key !== 'number') throw invalid
    return key
  })
  return { position: { keys, sequence: position['sequence'] } }
}
