import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

type Kind = 'file' | 'batch' | 'clock'

/**
 * Rows of files and batches as JSON. Each write is one transaction that is committed before the call is answered;
 * with WAL and synchronous=NORMAL a commit survives the death of the process (not a power cut), which is what --data
 * promises. The rates are those of uploads and batch steps, so commits are not grouped.
 */
export class TwinDatabase {
  readonly #database: DatabaseSync

  /** Without a folder the rows live in memory. */
  constructor(folder: string | undefined) {
    if (folder !== undefined) mkdirSync(folder, { recursive: true })
    this.#database = new DatabaseSync(folder === undefined ? ':memory:' : join(folder, 'twin.sqlite'))
    this.#database.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      CREATE TABLE IF NOT EXISTS rows (kind TEXT NOT NULL, id TEXT NOT NULL, json TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
    `)
  }

  put(kind: Kind, id: string, row: object): void {
    this.#database
      .prepare('INSERT OR REPLACE INTO rows (kind, id, json) VALUES (?, ?, ?)')
      .run(kind, id, JSON.stringify(row))
  }

  delete(kind: Kind, id: string): void {
    this.#database.prepare('DELETE FROM rows WHERE kind = ? AND id = ?').run(kind, id)
  }

  clear(kind: Kind): void {
    this.#database.prepare('DELETE FROM rows WHERE kind = ?').run(kind)
  }

  all(kind: Kind): unknown[] {
    const rows = this.#database.prepare('SELECT json FROM rows WHERE kind = ?').all(kind)
    return rows.map((row): unknown => JSON.parse(String(row['json'])))
  }

  close(): void {
    this.#database.close()
  }
}
