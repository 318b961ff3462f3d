import type { SQLInputValue } from 'node:sqlite'
import type { Json, Value } from '../json.ts'
import { member, typeRank } from '../sql/values.ts'
import { rankOf, valueOf, type Path } from '../store/path-indexes.ts'

export interface SortPath {
  path: Path
  descending: boolean
}

type Key = string | number | null

/** Where a page ended: the sort keys and the sequence number of its last item. */
export interface Position {
  keys: Key[]
  sequence: number
}

interface Column {
  sql: string
  descending: boolean
}

// Items with equal keys follow in the direction of the last key, so that one index scan serves both.
const columnsOf = (order: readonly SortPath[]): Column[] => [
  ...order.flatMap(({ path, descending }) => [
    { sql: rankOf(path), descending },
    { sql: valueOf(path), descending },
  ]),
  { sql: 'seq', descending: order.at(-1)?.descending ?? false },
]

export const orderClause = (order: readonly SortPath[]): string =>
  columnsOf(order)
    .map(({ sql, descending }) => (descending ? `${sql} DESC` : sql))
    .join(', ')

const keysOf = (value: Value): Key[] => {
  if (value === undefined) return [null, null]
  const rank = typeRank(value)
  if (value === null) return [rank, null]
  if (typeof value === 'boolean') return [rank, Number(value)]
  return [rank, typeof value === 'object' ? JSON.stringify(value) : value]
}

/** The position of an item in this order. */
export const positionOf = (order: readonly SortPath[], item: Json, sequence: number): Position => ({
  keys: order.flatMap(({ path }) => keysOf(path.reduce<Value>((value, step) => member(value, step), item))),
  sequence,
})

// NULL sorts first in SQLite, and no comparison operator says so.
const beyond = ({ sql, descending }: Column, key: Key): { sql: string; binds: SQLInputValue[] } => {
  if (key === null) return { sql: descending ? '0' : `${sql} IS NOT NULL`, binds: [] }
  return descending ? { sql: `(${sql} < ? OR ${sql} IS NULL)`, binds: [key] } : { sql: `${sql} > ?`, binds: [key] }
}

/** A condition for the items after `position`: paging by keys neither skips nor repeats items when others come and go. */
export const afterPosition = (
  order: readonly SortPath[],
  position: Position,
): { sql: string; binds: SQLInputValue[] } => {
  const keys: Key[] = [...position.keys, position.sequence]
  const alternatives: string[] = []
  const binds: SQLInputValue[] = []
  const equals: { sql: string; key: Key }[] = []
  for (const [i, column] of columnsOf(order).entries()) {
    const key = keys[i] ?? null
    const greater = beyond(column, key)
    alternatives.push([...equals.map(({ sql }) => `${sql} IS ?`), greater.sql].join(' AND '))
    binds.push(...equals.map((equal) => equal.key), ...greater.binds)
    equals.push({ sql: column.sql, key })
  }
  return { sql: `(${alternatives.map((alternative) => `(${alternative})`).join(' OR ')})`, binds }
}
