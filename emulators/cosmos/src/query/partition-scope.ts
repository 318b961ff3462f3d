import { afterPrefix } from '../partition-key.ts'
import type { Fragment } from './fragment.ts'

/** The items a query may see: all, one logical partition, or every partition under a hierarchical prefix. */
export type PartitionScope = { type: 'all' } | { type: 'key' | 'prefix'; encoded: string }

export const scopeCondition = (scope: PartitionScope): Fragment => {
  if (scope.type === 'all') return { sql: '', binds: [] }
  if (scope.type === 'key') return { sql: 'pk = ?', binds: [scope.encoded] }
  return { sql: '(pk >= ? AND pk < ?)', binds: [scope.encoded, afterPrefix(scope.encoded)] }
}
