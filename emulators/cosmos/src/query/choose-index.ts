import type { ItemContainer } from '../store/item-container.ts'
import { allOf, type Fragment } from './fragment.ts'
import type { Filter } from './to-sqlite.ts'

// Below this a wrong choice costs nothing.
const itemsWorthChoosing = 5000
// Counting a thousand index entries costs a tenth of a millisecond; only if none of the indexes is that selective, count on.
const bounds = [1000, 20_000]

interface Candidate {
  fragments: Fragment[]
  exact: boolean
}

const candidatesFor = (
  container: ItemContainer,
  scope: Fragment,
  filters: readonly Filter[],
): Map<string, Candidate> => {
  const candidates = new Map<string, Candidate>()
  if (scope.sql !== '') candidates.set(`${container.table}_id`, { fragments: [scope], exact: true })
  for (const filter of filters) {
    const name = filter.path && container.indexes.nameOf(filter.path)
    if (name === undefined) continue
    const known = candidates.get(name)
    const fragments = [...(known?.fragments ?? []), filter]
    candidates.set(name, { fragments, exact: filter.exact === true || known?.exact === true })
  }
  return candidates
}

const mostSelective = (
  container: ItemContainer,
  candidates: Map<string, Candidate>,
  bound: number,
): string | undefined => {
  let best: string | undefined
  let fewest = bound
  for (const [name, { fragments }] of candidates) {
    const { sql, binds } = allOf(fragments)
    const probe = `SELECT count(*) AS n FROM (SELECT 1 FROM ${container.table} INDEXED BY "${name}" WHERE ${sql} LIMIT ?)`
    const matches = Number(container.statement(probe).get(...binds, fewest)?.['n'] ?? 0)
    if (matches < fewest) [best, fewest] = [name, matches]
    if (matches === 0) break
  }
  return best
}

/**
 * The index that leaves fewest rows, as `INDEXED BY …`. SQLite keeps no histograms of expressions: for `status IN (…) AND
 * updatedAt < @now` it takes the range, which is nearly every row. So each usable index is asked for its number of matches, up
 * to a bound; when none is selective, one with an equality is taken, unless the rows are ordered: then an index that yields the
 * order may be better, and SQLite decides. With fewer than two there is nothing to choose.
 */
export const chooseIndex = (
  container: ItemContainer,
  scope: Fragment,
  filters: readonly Filter[],
  ordered: boolean,
): string => {
  if (container.itemCount < itemsWorthChoosing) return ''
  const candidates = candidatesFor(container, scope, filters)
  if (candidates.size < 2) return ''
  for (const bound of ordered ? bounds.slice(0, 1) : bounds) {
    const best = mostSelective(container, candidates, bound)
    if (best !== undefined) return ` INDEXED BY "${best}"`
  }
  if (ordered) return ''
  const exact = [...candidates].find(([, candidate]) => candidate.exact)
  return exact === undefined ? '' : ` INDEXED BY "${exact[0]}"`
}
