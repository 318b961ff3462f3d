import { effectivePartitionKey } from '../effective-partition-key.ts'
import { decodePartitionKey } from '../partition-key.ts'
import { scopeCondition, type PartitionScope } from '../query/partition-scope.ts'
import type { ItemContainer } from '../store/item-container.ts'

export interface ChangeFeedRequest {
  scope: PartitionScope
  /** A part of the key space '' … 'FF', as effective partition keys. */
  range: { min: string; max: string } | undefined
  /** Changes after this lsn. */
  afterLsn: number
  /** Changes of this second or later. */
  sinceSeconds: number | undefined
  maxItems: number
}

export interface Changes {
  /** JSON texts with `_lsn`, oldest change first; of each item only its latest version. */
  items: string[]
  /** Where the next read begins. */
  lsn: number
}

const inRange = (range: { min: string; max: string }): ((encodedKey: string) => boolean) => {
  const known = new Map<string, boolean>()
  return (encodedKey) => {
    let inside = known.get(encodedKey)
    if (inside === undefined) {
      const position = effectivePartitionKey(decodePartitionKey(encodedKey))
      inside = position >= range.min && position < range.max
      known.set(encodedKey, inside)
    }
    return inside
  }
}

/** The latest-version change feed: one pass over the items in the order of their last write. */
export const readChanges = (container: ItemContainer, request: ChangeFeedRequest): Changes => {
  const scope = scopeCondition(request.scope)
  const since = request.sinceSeconds === undefined ? [] : [request.sinceSeconds]
  const conditions = ['lsn > ?', ...since.map(() => 'ts >= ?'), ...(scope.sql === '' ? [] : [scope.sql])]
  const sql = `SELECT pk, lsn, body FROM ${container.table} WHERE ${conditions.join(' AND ')} ORDER BY lsn`
  const covers = request.range === undefined ? () => true : inRange(request.range)
  container.orderByChange()
  const items: string[] = []
  let last = request.afterLsn
  for (const row of container.statement(sql).iterate(request.afterLsn, ...since, ...scope.binds)) {
    if (!covers(row['pk'] as string)) continue
    if (items.length >= request.maxItems) return { items, lsn: last }
    last = row['lsn'] as number
    items.push(`${(row['body'] as string).slice(0, -1)},"_lsn":${last}}`)
  }
  return { items, lsn: container.lastLsn }
}
