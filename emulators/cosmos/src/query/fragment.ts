import type { SQLInputValue } from 'node:sqlite'

/** A piece of SQL with the values of its parameters. The empty text is a condition that always holds. */
export interface Fragment {
  sql: string
  binds: SQLInputValue[]
}

/** The conjunction; empty when there is nothing to check. */
export const allOf = (fragments: readonly Fragment[]): Fragment => ({
  sql: fragments.flatMap(({ sql }) => (sql === '' ? [] : [sql])).join(' AND '),
  binds: fragments.flatMap(({ binds }) => binds),
})
