import type { DatabaseSync } from 'node:sqlite'
import type { CompositeIndexes } from './composite-indexes.ts'
import type { GroupCommit } from './group-commit.ts'
import { jsonPath } from './json-path.ts'

export type Path = readonly (string | number)[]

const itemsBeforeIndexing = 500
const patience = 3
// A scan of this many costs more than a query may take, so the first one builds the index.
const itemsWithoutPatience = 20_000
const maxIndexes = 16

/** How many queries have to want an index on a container of so many items before it is built. */
export const usesBeforeIndexing = (itemCount: number): number => {
  if (itemCount < itemsBeforeIndexing) return Infinity
  return itemCount >= itemsWithoutPatience ? 1 : patience
}

/**
 * Cosmos's order of types as a number (NULL when the property is missing). Paired with `valueOf` it makes comparisons typed:
 * SQLite alone would say that true = 1 and that every string is greater than every number.
 */
export const rankOf = (path: Path): string =>
  `CASE json_type(body, ${jsonPath(path)}) WHEN 'null' THEN 1 WHEN 'true' THEN 2 WHEN 'false' THEN 2 WHEN 'integer' THEN 3 WHEN 'real' THEN 3 WHEN 'text' THEN 4 WHEN 'array' THEN 5 WHEN 'object' THEN 6 END`

/** The property as a SQL value: text, number, 0 or 1 for booleans, JSON text for arrays and objects. */
export const valueOf = (path: Path): string => `body ->> ${jsonPath(path)}`

/** Expression indexes created once a path has proved to be filtered on; the service indexes every path by default. */
export class PathIndexes {
  readonly #database: DatabaseSync
  readonly #commit: GroupCommit
  readonly #table: string
  readonly #uses = new Map<string, number>()
  readonly #names = new Map<string, string>()
  readonly #composite: CompositeIndexes

  constructor(database: DatabaseSync, commit: GroupCommit, table: string, composite: CompositeIndexes) {
    this.#composite = composite
    this.#database = database
    this.#commit = commit
    this.#table = table
    const prefix = `path_${table}_`
    for (const { name } of database
      .prepare(`SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?`)
      .all(table)) {
      const index = String(name)
      if (index.startsWith(prefix)) this.#names.set(Buffer.from(index.slice(prefix.length), 'hex').toString(), index)
    }
  }

  get count(): number {
    return this.#names.size
  }

  /** The index on this path, if there is one yet: its own, or a composite one that begins with it. */
  nameOf(path: Path): string | undefined {
    const key = jsonPath(path)
    return this.#names.get(key) ?? this.#composite.nameOf(key)
  }

  /** Counts one use of these paths in a filter or an order; builds what became worth it while the table is still small. */
  used(paths: Iterable<Path | undefined>, itemCount: number): void {
    const needed = usesBeforeIndexing(itemCount)
    if (needed === Infinity) return
    for (const path of paths) {
      if (path === undefined) continue
      const key = jsonPath(path)
      if (this.nameOf(path) !== undefined || this.#names.size >= maxIndexes) continue
      const uses = (this.#uses.get(key) ?? 0) + 1
      this.#uses.set(key, uses)
      if (uses >= needed) this.#create(path, key)
    }
  }

  #create(path: Path, key: string): void {
    this.#commit.begin()
    const name = `path_${this.#table}_${Buffer.from(key).toString('hex')}`
    this.#database.exec(`CREATE INDEX IF NOT EXISTS "${name}" ON ${this.#table} (${rankOf(path)}, ${valueOf(path)})`)
    this.#names.set(key, name)
  }
}
