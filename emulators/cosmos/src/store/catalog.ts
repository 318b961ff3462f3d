import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { conflict } from '../cosmos-error.ts'
import type { ContainerDefinition } from './container-definition.ts'
import { GroupCommit } from './group-commit.ts'
import { ItemContainer, type ContainerRow } from './item-container.ts'

export interface DatabaseEntry {
  id: string
  number: number
  seconds: number
  containers: Map<string, ItemContainer>
}

const schema = `
  CREATE TABLE IF NOT EXISTS databases (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, ts INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS containers (
    number INTEGER PRIMARY KEY AUTOINCREMENT, database INTEGER NOT NULL REFERENCES databases (number), id TEXT NOT NULL,
    definition TEXT NOT NULL, ts INTEGER NOT NULL, next_seq INTEGER NOT NULL, last_lsn INTEGER NOT NULL, UNIQUE (database, id));`

const openDatabase = (dataDir: string | undefined): DatabaseSync => {
  if (dataDir !== undefined) mkdirSync(dataDir, { recursive: true })
  const database = new DatabaseSync(dataDir === undefined ? ':memory:' : join(dataDir, 'cosmos.sqlite'))
  // Before anything is written: it holds for files that are new. A row of two kilobytes, as an event in its delivery is, would
  // have a page of four to itself; of these three share one of eight, and half as many bytes go through the WAL.
  database.exec(
    'PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY',
  )
  database.exec(schema)
  return database
}

/** The account's databases and containers, held in memory and in the tables `databases` and `containers`. */
export class Catalog {
  readonly commit: GroupCommit
  readonly databases = new Map<string, DatabaseEntry>()
  readonly #database: DatabaseSync

  /** Without `dataDir` everything is in memory. */
  constructor(dataDir?: string) {
    this.#database = openDatabase(dataDir)
    this.commit = new GroupCommit(this.#database, {
      beforeCommit: () => this.#saveCounters(),
      afterRollback: () => this.#load(),
    })
    this.#load()
  }

  #load(): void {
    this.databases.clear()
    for (const row of this.#database.prepare('SELECT number, id, ts FROM databases ORDER BY number').all()) {
      const entry = {
        id: String(row['id']),
        number: Number(row['number']),
        seconds: Number(row['ts']),
        containers: new Map(),
      }
      this.databases.set(entry.id, entry)
      this.#loadContainers(entry)
    }
  }

  createDatabase(id: string, nowMs: number): DatabaseEntry {
    if (this.databases.has(id)) throw conflict()
    this.commit.begin()
    const seconds = Math.floor(nowMs / 1000)
    const { lastInsertRowid } = this.#database.prepare('INSERT INTO databases (id, ts) VALUES (?, ?)').run(id, seconds)
    const entry: DatabaseEntry = { id, number: Number(lastInsertRowid), seconds, containers: new Map() }
    this.databases.set(id, entry)
    return entry
  }

  deleteDatabase(entry: DatabaseEntry): void {
    for (const container of entry.containers.values()) this.deleteContainer(entry, container)
    this.commit.begin()
    this.#database.prepare('DELETE FROM databases WHERE number = ?').run(entry.number)
    this.databases.delete(entry.id)
  }

  createContainer(entry: DatabaseEntry, definition: ContainerDefinition, nowMs: number): ItemContainer {
    if (entry.containers.has(definition.id)) throw conflict()
    this.commit.begin()
    const seconds = Math.floor(nowMs / 1000)
    const { lastInsertRowid } = this.#database
      .prepare('INSERT INTO containers (database, id, definition, ts, next_seq, last_lsn) VALUES (?, ?, ?, ?, 1, 0)')
      .run(entry.number, definition.id, JSON.stringify(definition), seconds)
    const number = Number(lastInsertRowid)
    return this.#open(entry, { number, database: entry.number, definition, seconds, nextSequence: 1, lastLsn: 0 })
  }

  replaceContainer(container: ItemContainer, definition: ContainerDefinition, nowMs: number): void {
    this.commit.begin()
    container.seconds = Math.floor(nowMs / 1000)
    this.#database
      .prepare('UPDATE containers SET definition = ?, ts = ? WHERE number = ?')
      .run(JSON.stringify(definition), container.seconds, container.number)
    container.redefine(definition)
  }

  deleteContainer(entry: DatabaseEntry, container: ItemContainer): void {
    this.commit.begin()
    this.#database.exec(`DROP TABLE ${container.table}`)
    this.#database.prepare('DELETE FROM containers WHERE number = ?').run(container.number)
    entry.containers.delete(container.definition.id)
  }

  /** Deletes every database: the control API's reset. */
  clear(): void {
    for (const entry of this.databases.values()) this.deleteDatabase(entry)
  }

  close(): void {
    this.commit.close()
    this.#database.close()
  }

  #loadContainers(entry: DatabaseEntry): void {
    const rows = this.#database.prepare('SELECT * FROM containers WHERE database = ? ORDER BY number').all(entry.number)
    for (const row of rows) {
      this.#open(entry, {
        number: Number(row['number']),
        database: entry.number,
        definition: JSON.parse(String(row['definition'])) as ContainerDefinition,
        seconds: Number(row['ts']),
        nextSequence: Number(row['next_seq']),
        lastLsn: Number(row['last_lsn']),
      })
    }
  }

  #open(entry: DatabaseEntry, row: ContainerRow): ItemContainer {
    const container = new ItemContainer(this.#database, this.commit, row)
    entry.containers.set(row.definition.id, container)
    return container
  }

  // In the same transaction as the writes they count: a restart can never hand out a sequence number or an lsn again.
  #saveCounters(): void {
    for (const entry of this.databases.values())
      for (const container of entry.containers.values()) {
        if (!container.dirty) continue
        container
          .statement('UPDATE containers SET next_seq = ?, last_lsn = ? WHERE number = ?')
          .run(container.nextSequence, container.lastLsn, container.number)
        container.dirty = false
      }
  }
}
