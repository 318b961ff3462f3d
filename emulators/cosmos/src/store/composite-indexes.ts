import { createHash } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { pathSteps } from '../partition-key.ts'
import type { CompositePath, ContainerDefinition } from './container-definition.ts'
import type { GroupCommit } from './group-commit.ts'
import { isPlainKey, jsonPath } from './json-path.ts'
import { rankOf, usesBeforeIndexing, valueOf, type Path } from './path-indexes.ts'

const columnsOf = ({ path, order }: CompositePath): string => {
  const steps = pathSteps(path)
  const direction = order === 'descending' ? ' DESC' : ''
  return `${rankOf(steps)}${direction}, ${valueOf(steps)}${direction}`
}

interface CompositeIndex {
  name: string
  columns: string
  keys: { path: string; descending: boolean }[]
  uses: number
  isBuilt: boolean
}

/**
 * The policy's composite indexes, which serve ORDER BY several properties. Each is built once a query has proved to order by
 * it: a policy lists what an application may ask for, and every index that is there costs each write.
 */
export class CompositeIndexes {
  readonly #database: DatabaseSync
  readonly #commit: GroupCommit
  readonly #table: string
  #indexes: CompositeIndex[] = []

  constructor(database: DatabaseSync, commit: GroupCommit, table: string, definition: ContainerDefinition) {
    this.#database = database
    this.#commit = commit
    this.#table = table
    this.redefine(definition)
  }

  /** Takes over a changed policy: what it no longer lists is dropped. */
  redefine(definition: ContainerDefinition): void {
    const built = this.#builtNames()
    const wanted = new Map<string, CompositeIndex>()
    for (const paths of definition.indexingPolicy.compositeIndexes ?? []) {
      if (!paths.every(({ path }) => pathSteps(path).every(isPlainKey))) continue
      const columns = paths.map(columnsOf).join(', ')
      const digest = createHash('sha256').update(columns).digest('hex').slice(0, 16)
      const name = `composite_${this.#table}_${digest}`
      const keys = paths.map(({ path, order }) => ({
        path: jsonPath(pathSteps(path)),
        descending: order === 'descending',
      }))
      wanted.set(name, { name, columns, keys, uses: 0, isBuilt: built.has(name) })
    }
    for (const name of built) if (!wanted.has(name)) this.#database.exec(`DROP INDEX "${name}"`)
    this.#indexes = [...wanted.values()]
  }

  /** A built index that begins with this property (as a JSON path): as good as one on the property alone. */
  nameOf(path: string): string | undefined {
    return this.#indexes.find(({ isBuilt, keys }) => isBuilt && keys[0]?.path === path)?.name
  }

  /** Counts one ORDER BY; builds the index that serves it when that has become worth it. */
  used(order: readonly { path: Path; descending: boolean }[], itemCount: number): void {
    if (order.length < 2) return
    for (const index of this.#indexes) {
      if (index.isBuilt || !serves(index, order) || ++index.uses < usesBeforeIndexing(itemCount)) continue
      this.#commit.begin()
      this.#database.exec(`CREATE INDEX "${index.name}" ON ${this.#table} (${index.columns})`)
      index.isBuilt = true
    }
  }

  #builtNames(): Set<string> {
    const rows = this.#database
      .prepare(`SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?`)
      .all(this.#table)
    return new Set(rows.map(({ name }) => String(name)).filter((name) => name.startsWith('composite_')))
  }
}

// An index is read in either direction.
const serves = ({ keys }: CompositeIndex, order: readonly { path: Path; descending: boolean }[]): boolean => {
  const isFlipped = keys[0]?.descending !== order[0]?.descending
  return (
    keys.length === order.length &&
    keys.every(({ path, descending }, level) => {
      const wanted = order[level]
      return wanted !== undefined && path === jsonPath(wanted.path) && (descending !== wanted.descending) === isFlipped
    })
  )
}
