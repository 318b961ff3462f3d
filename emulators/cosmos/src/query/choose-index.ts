import type { ItemContainer } from '../store/item-container.ts'
import { allOf, type Fragment } from './fragment.ts'
import type { Filter } from './to-sqlite.ts'

// Below this a wrong choice costs nothing; above, counting this many index entries costs a tenth of a millisecond.
const itemsWorthChoosing = 5000
const enough = 1000

/**
 * The index that leaves fewest rows, as `INDEXED BY …`. SQLite keeps no histograms of expressions: for `status IN (…) AND
 * updatedAt < @now` it takes the range, which is nearly every row. So each usable index is asked for its number of matches,
 * up to a bound; when none is selective, or only one exists, SQLite chooses by itself.
 */
export const chooseIndex = (container: ItemContainer, scope: Fragment, filters: readonly Filter[]): string => {
  if (container.itemCount < itemsWorthChoosing) return ''
  const candidates = new Map<string, Fragment[]>()
  if (scope.sql !== '') candidates.set(`${container.table}_id`, [scope])
  for (const filter of filters) {
    const name = filter.path && container.indexes.nameOf(filter.path)
    if (name !== undefined) candidates.set(name, [...(candidates.get(name) ?? []), filter])
  }
  if (candidates.size < 2) return ''
  let best = ''
  let fewest = enough
  for (const [name, fragments] of candidates) {
    const { sql, binds } = allOf(fragments)
    const probe = `SELECT count(*) AS n FROM (SELECT 1 FROM ${container.table} INDEXED BY "${name}" WHERE ${sql} LIMIT ${fewest})`
    const matches = Number(container.statement(probe).get(...binds)?.['n'] ?? 0)
    if (matches < fewest) [best, fewest] = [` INDEXED BY "${name}"`, matches]
    if (matches === 0) break
  }
  return best
}
