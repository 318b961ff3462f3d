import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import { badRequest, tooLarge } from '../cosmos-error.ts'
import type { JsonObject } from '../json.ts'
import { containerRid, databaseRid, etagOf, itemRids } from '../resource-id.ts'
import type { ContainerDefinition } from './container-definition.ts'
import type { GroupCommit } from './group-commit.ts'
import { CompositeIndexes } from './composite-indexes.ts'
import { createItemTable } from './item-table.ts'
import { PathIndexes } from './path-indexes.ts'

export interface StoredItem {
  sequence: number
  /** Complete JSON text, system properties included: a point read answers it as it is. */
  body: string
  lsn: number
  seconds: number
}

export interface ContainerRow {
  number: number
  database: number
  definition: ContainerDefinition
  seconds: number
  nextSequence: number
  lastLsn: number
}

const systemProperties = ['_rid', '_self', '_etag', '_attachments', '_ts', '_lsn'] as const
const maxItemBytes = 2 * 1024 * 1024
const maxTtlSeconds = 2_147_483_647
const maxCachedStatements = 200

/** A write broke a unique key of the container, or a new item's id is taken. */
export class UniqueViolation extends Error {
  override readonly name = 'UniqueViolation'
}

/** The items of one container: a table of its own, so that on-demand indexes cost only this container's writes. */
export class ItemContainer {
  readonly number: number
  readonly rid: string
  readonly self: string
  readonly table: string
  readonly composite: CompositeIndexes
  readonly indexes: PathIndexes
  readonly #database: DatabaseSync
  readonly #commit: GroupCommit
  readonly #itemRid: (sequence: number) => string
  readonly #statements = new Map<string, StatementSync>()
  readonly #find: StatementSync
  readonly #insert: StatementSync
  readonly #update: StatementSync
  readonly #remove: StatementSync
  seconds: number
  nextSequence: number
  lastLsn: number
  itemCount: number
  /** Counters moved since they were last saved. */
  dirty = false
  #definition: ContainerDefinition
  #purgedSecond = -1
  #isOrderedByChange = false

  constructor(database: DatabaseSync, commit: GroupCommit, row: ContainerRow) {
    this.#database = database
    this.#commit = commit
    this.number = row.number
    this.rid = containerRid(row.database, row.number)
    this.self = `dbs/${databaseRid(row.database)}/colls/${this.rid}/`
    this.table = `items_${row.number}`
    this.#definition = row.definition
    this.seconds = row.seconds
    this.nextSequence = row.nextSequence
    this.lastLsn = row.lastLsn
    this.#itemRid = itemRids(row.database, row.number)
    createItemTable(database, this.table, row.definition)
    this.itemCount = Number(database.prepare(`SELECT count(*) AS n FROM ${this.table}`).get()?.['n'] ?? 0)
    this.composite = new CompositeIndexes(database, commit, this.table, row.definition)
    this.indexes = new PathIndexes(database, commit, this.table, this.composite)
    // Text of ours that SQLite has joined ends with a NUL, which its JSON functions ask for: each index that looks into the body
    // would make a copy of a bound one to add it.
    this.#find = database.prepare(`SELECT seq, body, lsn, ts FROM ${this.table} WHERE pk = ? AND id = ?`)
    this.#insert = database.prepare(
      `INSERT INTO ${this.table} (seq, pk, id, lsn, ts, ttl, expires, body) VALUES (?, ?, ?, ?, ?, ?, ?, ? || '')`,
    )
    this.#update = database.prepare(
      `UPDATE ${this.table} SET lsn = ?, ts = ?, ttl = ?, expires = ?, body = ? || '' WHERE seq = ?`,
    )
    this.#remove = database.prepare(`DELETE FROM ${this.table} WHERE seq = ?`)
  }

  find(partitionKey: string, id: string): StoredItem | undefined {
    const row = this.#find.get(partitionKey, id)
    if (row === undefined) return undefined
    return {
      sequence: row['seq'] as number,
      body: row['body'] as string,
      lsn: row['lsn'] as number,
      seconds: row['ts'] as number,
    }
  }

  /** Throws UniqueViolation. `item` is stripped of client-sent system properties in place. */
  insert(partitionKey: string, id: string, item: JsonObject, nowMs: number): StoredItem {
    this.#commit.begin()
    const stored = this.#stamp(this.nextSequence, item, nowMs)
    const ttl = this.#ttlOf(item)
    const { sequence, lsn, seconds, body } = stored
    this.#guarded(() =>
      this.#insert.run(sequence, partitionKey, id, lsn, seconds, ttl, this.#expiry(ttl, seconds), body),
    )
    this.nextSequence += 1
    this.itemCount += 1
    this.#written(lsn)
    return stored
  }

  replace(existing: StoredItem, item: JsonObject, nowMs: number): StoredItem {
    this.#commit.begin()
    const stored = this.#stamp(existing.sequence, item, nowMs)
    const ttl = this.#ttlOf(item)
    const { sequence, lsn, seconds, body } = stored
    this.#guarded(() => this.#update.run(lsn, seconds, ttl, this.#expiry(ttl, seconds), body, sequence))
    this.#written(lsn)
    return stored
  }

  remove(existing: StoredItem): void {
    this.#commit.begin()
    this.#remove.run(existing.sequence)
    this.#written(this.lastLsn + 1)
    this.itemCount -= 1
  }

  removePartition(partitionKey: string): void {
    this.#commit.begin()
    const { changes } = this.#database.prepare(`DELETE FROM ${this.table} WHERE pk = ?`).run(partitionKey)
    this.itemCount -= Number(changes)
    this.#written(this.lastLsn + 1)
  }

  /**
   * Call at the start of every request. Expiry has a resolution of one second, so deleting once in each new second of the
   * clock means that no statement ever needs to filter expired items.
   */
  purgeExpired(nowMs: number): void {
    const second = Math.floor(nowMs / 1000)
    if (this.definition.defaultTtl === undefined || second === this.#purgedSecond) return
    this.#purgedSecond = second
    const due = this.statement(`SELECT 1 FROM ${this.table} WHERE expires <= ? LIMIT 1`).get(second)
    if (due === undefined) return
    this.#commit.begin()
    const { changes } = this.statement(`DELETE FROM ${this.table} WHERE expires <= ?`).run(second)
    this.itemCount -= Number(changes)
    this.dirty = true
  }

  /** Call before reading items in the order of their changes: only containers with a change feed in use have the index for it. */
  orderByChange(): void {
    if (this.#isOrderedByChange) return
    this.#commit.begin()
    this.#database.exec(`CREATE INDEX IF NOT EXISTS ${this.table}_lsn ON ${this.table} (lsn)`)
    this.#isOrderedByChange = true
  }

  get definition(): ContainerDefinition {
    return this.#definition
  }

  /** Takes over a changed definition: its composite indexes, and its default TTL also for the items already there. */
  redefine(definition: ContainerDefinition): void {
    this.#commit.begin()
    const ttlChanged = this.#definition.defaultTtl !== definition.defaultTtl
    this.#definition = definition
    this.composite.redefine(definition)
    if (ttlChanged) this.#recomputeExpiry()
  }

  #recomputeExpiry(): void {
    const standard = this.#definition.defaultTtl
    const inherited: SQLInputValue = standard === undefined || standard === -1 ? null : standard
    this.#database
      .prepare(
        `UPDATE ${this.table} SET expires = CASE WHEN ? THEN NULL WHEN ttl = -1 THEN NULL WHEN ttl IS NULL THEN ts + ? ELSE ts + ttl END`,
      )
      .run(standard === undefined ? 1 : 0, inherited)
    this.#purgedSecond = -1
  }

  /** All of `work`'s writes or none; the counters of items follow. */
  atomically<T>(work: () => T): T {
    const count = this.itemCount
    try {
      return this.#commit.atomically(work)
    } catch (error) {
      this.itemCount = count
      throw error
    }
  }

  /** A prepared statement, kept for the next call with the same text. */
  statement(sql: string): StatementSync {
    const known = this.#statements.get(sql)
    if (known !== undefined) return known
    if (this.#statements.size >= maxCachedStatements) this.#statements.clear()
    const prepared = this.#database.prepare(sql)
    this.#statements.set(sql, prepared)
    return prepared
  }

  // Only now: a write that was refused has used no number.
  #written(lsn: number): void {
    this.lastLsn = lsn
    this.dirty = true
  }

  #stamp(sequence: number, item: JsonObject, nowMs: number): StoredItem {
    for (const name of systemProperties) if (Object.hasOwn(item, name)) delete item[name]
    const lsn = this.lastLsn + 1
    const seconds = Math.floor(nowMs / 1000)
    const rid = this.#itemRid(sequence)
    const text = JSON.stringify(item).slice(0, -1)
    // Any UTF-16 unit takes at most three bytes, so most items need no count.
    if (text.length * 3 > maxItemBytes && Buffer.byteLength(text) > maxItemBytes) throw tooLarge()
    const etag = JSON.stringify(etagOf(lsn, seconds))
    const system = `"_rid":"${rid}","_self":"${this.self}docs/${rid}/","_etag":${etag},"_attachments":"attachments/","_ts":${seconds}`
    return { sequence, lsn, seconds, body: `${text}${text.length > 1 ? ',' : ''}${system}}` }
  }

  #ttlOf(item: JsonObject): number | null {
    const ttl = item['ttl']
    if (ttl === undefined || ttl === null) return null
    if (typeof ttl !== 'number' || !Number.isInteger(ttl) || ttl === 0 || ttl < -1 || ttl > maxTtlSeconds)
      throw badRequest(
        `The input ttl '${JSON.stringify(ttl)}' is invalid. Ensure to provide a nonzero positive integer less than or equal to ${maxTtlSeconds}, or -1.`,
      )
    return ttl
  }

  #expiry(ttl: number | null, seconds: number): number | null {
    const standard = this.definition.defaultTtl
    const effective = standard === undefined ? -1 : (ttl ?? standard)
    return effective === -1 ? null : seconds + effective
  }

  #guarded(write: () => unknown): void {
    try {
      write()
    } catch (error) {
      const message = error instanceof Error ? error.message : ''
      if (message.startsWith('UNIQUE constraint failed')) throw new UniqueViolation(message)
      throw error
    }
  }
}
