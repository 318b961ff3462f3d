import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { unpack } from '../amqp/packed-bytes.ts'
import type { Journal, RestoreVisitor } from './journal.ts'
import { PendingMessages, rangesOf } from './pending-messages.ts'
import { bareOfRow, eventColumns, eventOfRow, messageColumns, messageOfRow } from './sqlite-rows.ts'
import { prepareSchema } from './sqlite-schema.ts'

const sql = {
  findEntity: 'SELECT id FROM entities WHERE path = ?',
  addEntity: 'INSERT INTO entities (path) VALUES (?)',
  insertMessage: `INSERT INTO messages VALUES (${Array.from({ length: 20 }, () => '?').join(', ')})`,
  saveState: 'INSERT OR REPLACE INTO message_states VALUES (?, ?, ?, ?, ?)',
  replaceBare: 'UPDATE messages SET bare = ? WHERE id = ?',
  readBare: 'SELECT bare FROM messages WHERE id = ?',
  removeMessages: 'DELETE FROM messages WHERE id BETWEEN ? AND ?',
  removeStates: 'DELETE FROM message_states WHERE id BETWEEN ? AND ?',
  saveSequence: 'INSERT INTO sequences VALUES (?, ?) ON CONFLICT (entity) DO UPDATE SET last = excluded.last',
  saveSession: 'INSERT INTO sessions VALUES (?, ?, ?) ON CONFLICT (entity, id) DO UPDATE SET state = excluded.state',
  removeSession: 'DELETE FROM sessions WHERE entity = ? AND id = ?',
  saveSessionLock:
    'INSERT INTO session_locks VALUES (?, ?, ?) ON CONFLICT (entity, id) DO UPDATE SET locked_until = excluded.locked_until',
  removeSessionLock: 'DELETE FROM session_locks WHERE entity = ? AND id = ?',
  saveDuplicate:
    'INSERT INTO duplicates VALUES (?, ?, ?) ON CONFLICT (entity, message_id) DO UPDATE SET until = excluded.until',
  removeRules: 'DELETE FROM rules WHERE entity = ?',
  noteRules: 'INSERT OR IGNORE INTO changed_rules VALUES (?)',
  addRule: 'INSERT INTO rules VALUES (?, ?, ?, ?)',
  appendEvent: `INSERT INTO events VALUES (${Array.from({ length: 8 }, () => '?').join(', ')})`,
  removeEvents: 'DELETE FROM events WHERE partition = ? AND sequence < ?',
} as const

/**
 * The journal of an emulator with a data directory. What arrived in one turn of the event loop shares a transaction, which is
 * committed at the turn's end. Changes run inside it at once, but for those of messages, which change several times in a turn:
 * of them the commit writes the outcome.
 * @throws Error when the directory cannot be used
 */
export const sqliteJournal = (directory: string, now: () => number): Journal => {
  mkdirSync(directory, { recursive: true })
  const database = new DatabaseSync(join(directory, 'messages.db'))
  prepareSchema(database)
  const run = prepareAll(database)
  const sequences = new Map<number, number>()
  const pending = new PendingMessages()
  let waiting: (() => void)[] = []
  let isOpen = false

  const writeMessages = (): void => {
    for (const { first, last } of rangesOf(pending.removed)) {
      run.removeMessages.run(first, last)
      run.removeStates.run(first, last)
    }
    for (const row of pending.rows.values()) {
      const { message } = row
      if (row.kind === 'insert') run.insertMessage.run(...messageColumns(row.entity, message, row.bare))
      else {
        const { rowId, state, deliveryCount, lock } = message
        run.saveState.run(rowId, state, deliveryCount, lock?.id ?? null, lock?.lockedUntilMs ?? null)
        if (row.kind === 'replace') run.replaceBare.run(unpack(row.bare), rowId)
      }
    }
    pending.clear()
  }
  const commit = (): void => {
    if (!isOpen) return
    writeMessages()
    for (const [entity, last] of sequences) run.saveSequence.run(entity, last)
    sequences.clear()
    database.exec('COMMIT')
    isOpen = false
    const committed = waiting
    waiting = []
    for (const callback of committed) callback()
  }
  const begin = (): void => {
    if (isOpen) return
    isOpen = true
    database.exec('BEGIN')
    setImmediate(() => {
      if (database.isOpen) commit()
    })
  }

  return {
    entityId(path) {
      const known = run.findEntity.get(path)?.['id']
      return known === undefined ? Number(run.addEntity.run(path).lastInsertRowid) : Number(known)
    },
    insertMessage(entity, message) {
      begin()
      pending.insert(entity, message)
    },
    updateMessage(message) {
      begin()
      pending.update(message)
    },
    replaceMessage(message, bare) {
      begin()
      pending.replace(message, bare)
    },
    readBare(rowId) {
      return pending.bareOf(rowId) ?? bareOfRow(run.readBare.get(rowId))
    },
    removeMessage(rowId) {
      begin()
      pending.remove(rowId)
    },
    saveSequence(entity, last) {
      begin()
      sequences.set(entity, last)
    },
    saveSessionState(entity, sessionId, state) {
      begin()
      if (state === undefined) run.removeSession.run(entity, sessionId)
      else run.saveSession.run(entity, sessionId, state)
    },
    saveSessionLock(entity, sessionId, lockedUntilMs) {
      begin()
      if (lockedUntilMs === undefined) run.removeSessionLock.run(entity, sessionId)
      else run.saveSessionLock.run(entity, sessionId, lockedUntilMs)
    },
    saveDuplicate(entity, messageId, untilMs) {
      begin()
      run.saveDuplicate.run(entity, messageId, untilMs)
    },
    saveRules(entity, rules) {
      begin()
      run.removeRules.run(entity)
      run.noteRules.run(entity)
      for (const [position, { name, definition }] of rules.entries())
        run.addRule.run(entity, position, name, definition)
    },
    appendEvent(partition, event) {
      begin()
      run.appendEvent.run(...eventColumns(partition, event))
    },
    removeEventsBefore(partition, sequenceNumber) {
      begin()
      run.removeEvents.run(partition, sequenceNumber)
    },
    afterCommit(callback) {
      if (isOpen) waiting.push(callback)
      else callback()
    },
    restore(visitor) {
      restoreAll(database, visitor, now())
    },
    reset() {
      commit()
      database.exec(
        'DELETE FROM messages; DELETE FROM message_states; DELETE FROM sessions; DELETE FROM session_locks; DELETE FROM duplicates; DELETE FROM rules; DELETE FROM changed_rules; DELETE FROM events; DELETE FROM sequences;',
      )
    },
    close() {
      commit()
      database.close()
    },
  }
}

const prepareAll = (database: DatabaseSync): Record<keyof typeof sql, StatementSync> =>
  Object.fromEntries(Object.entries(sql).map(([name, text]) => [name, database.prepare(text)])) as Record<
    keyof typeof sql,
    StatementSync
  >

const unchanging =
  'entity, sequence, enqueued_sequence, enqueued_at, expires_at, ttl, scheduled_at, dead_letter_source, message_id, session_id, durable, priority, annotation_count, annotations, bare'
const newest = ['state', 'delivery_count', 'lock_id', 'locked_until'].map(
  (column) => `iif(changed.id IS NULL, messages.${column}, changed.${column}) AS ${column}`,
)
const restoredMessages = `
  SELECT messages.id AS id, ${unchanging}, ${newest.join(', ')}
  FROM messages LEFT JOIN message_states AS changed ON changed.id = messages.id
  ORDER BY iif(changed.id IS NULL, messages.locked_until, changed.locked_until), messages.id`

const restoreAll = (database: DatabaseSync, visitor: RestoreVisitor, now: number): void => {
  database.exec("INSERT INTO meta VALUES ('run', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1")
  visitor.run(Number(database.prepare("SELECT value FROM meta WHERE name = 'run'").get()?.['value']))
  for (const row of database.prepare('SELECT * FROM sequences').iterate())
    visitor.sequence(Number(row['entity']), Number(row['last']))
  for (const row of database.prepare('SELECT * FROM session_locks ORDER BY locked_until').iterate()) {
    visitor.sessionLock({
      entity: Number(row['entity']),
      sessionId: String(row['id']),
      lockedUntilMs: Number(row['locked_until']),
    })
  }
  // Unlocked messages first, by age; then the locked ones by expiry, which is the order that the queues rely on.
  for (const row of database.prepare(restoredMessages).iterate())
    visitor.message(Number(row['entity']), messageOfRow(row))
  for (const row of database.prepare('SELECT * FROM sessions').iterate()) {
    visitor.sessionState({
      entity: Number(row['entity']),
      sessionId: String(row['id']),
      state: Buffer.from(row['state'] as Uint8Array),
    })
  }
  database.prepare('DELETE FROM duplicates WHERE until <= ?').run(now)
  for (const row of database.prepare('SELECT * FROM duplicates ORDER BY until').iterate())
    visitor.duplicate(Number(row['entity']), String(row['message_id']), Number(row['until']))
  const rules = database.prepare('SELECT name, definition FROM rules WHERE entity = ? ORDER BY position')
  for (const { entity } of database.prepare('SELECT entity FROM changed_rules').all()) {
    visitor.rules(
      Number(entity),
      rules.all(Number(entity)).map((row) => ({ name: String(row['name']), definition: String(row['definition']) })),
    )
  }
  for (const row of database.prepare('SELECT * FROM events ORDER BY partition, sequence').iterate())
    visitor.event(Number(row['partition']), eventOfRow(row))
}
