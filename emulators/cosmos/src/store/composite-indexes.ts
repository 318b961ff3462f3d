import { createHash } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { pathSteps } from '../partition-key.ts'
import type { CompositePath, ContainerDefinition } from './container-definition.ts'
import { isPlainKey } from './json-path.ts'
import { rankOf, valueOf } from './path-indexes.ts'

const columnsOf = ({ path, order }: CompositePath): string => {
  const steps = pathSteps(path)
  const direction = order === 'descending' ? ' DESC' : ''
  return `${rankOf(steps)}${direction}, ${valueOf(steps)}${direction}`
}

/** Brings the table's indexes in line with the policy's composite indexes, which then serve ORDER BY several properties. */
export const syncCompositeIndexes = (database: DatabaseSync, table: string, definition: ContainerDefinition): void => {
  const wanted = new Map<string, string>()
  for (const paths of definition.indexingPolicy.compositeIndexes ?? []) {
    if (!paths.every(({ path }) => pathSteps(path).every(isPlainKey))) continue
    const columns = paths.map(columnsOf).join(', ')
    const digest = createHash('sha256').update(columns).digest('hex').slice(0, 16)
    wanted.set(`composite_${table}_${digest}`, columns)
  }
  const existing = database.prepare(`SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?`).all(table)
  for (const { name } of existing) {
    const index = String(name)
    if (index.startsWith('composite_') && !wanted.delete(index)) database.exec(`DROP INDEX "${index}"`)
  }
  for (const [index, columns] of wanted) database.exec(`CREATE INDEX "${index}" ON ${table} (${columns})`)
}
