import type { DatabaseSync } from 'node:sqlite'

const version = 2

// A message's row is written once, as it was at the end of the turn in which it came. What changes later (state, delivery count,
// lock) is in a narrow row of its own that overrides it: most messages are locked once, and a page of bodies written again for
// that cost more than the lock. Format 1 had no such rows; the columns of its messages mean the same.
// Events are a rowid table: without one, a row of more than a quarter of a page would get an overflow page of its own.
const schema = `
  CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS entities (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE IF NOT EXISTS sequences (entity INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY, entity INTEGER NOT NULL, sequence INTEGER NOT NULL, enqueued_sequence INTEGER NOT NULL,
    enqueued_at INTEGER NOT NULL, expires_at INTEGER, ttl INTEGER, scheduled_at INTEGER, state TEXT NOT NULL,
    delivery_count INTEGER NOT NULL, dead_letter_source TEXT, message_id TEXT NOT NULL, session_id TEXT,
    durable INTEGER NOT NULL, priority INTEGER NOT NULL, annotation_count INTEGER NOT NULL, annotations BLOB NOT NULL,
    lock_id INTEGER, locked_until INTEGER, bare BLOB NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS message_states (
    id INTEGER PRIMARY KEY, state TEXT NOT NULL, delivery_count INTEGER NOT NULL, lock_id INTEGER, locked_until INTEGER
  ) STRICT;
  CREATE TABLE IF NOT EXISTS sessions (entity INTEGER NOT NULL, id TEXT NOT NULL, state BLOB NOT NULL, PRIMARY KEY (entity, id)) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS session_locks (entity INTEGER NOT NULL, id TEXT NOT NULL, locked_until INTEGER NOT NULL, PRIMARY KEY (entity, id)) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS duplicates (entity INTEGER NOT NULL, message_id TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (entity, message_id)) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS rules (entity INTEGER NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL, definition TEXT NOT NULL, PRIMARY KEY (entity, position)) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS changed_rules (entity INTEGER PRIMARY KEY) STRICT;
  CREATE TABLE IF NOT EXISTS events (
    partition INTEGER NOT NULL, sequence INTEGER NOT NULL, position INTEGER NOT NULL, enqueued_at INTEGER NOT NULL,
    partition_key TEXT, annotation_count INTEGER NOT NULL, annotations BLOB NOT NULL, bare BLOB NOT NULL,
    PRIMARY KEY (partition, sequence)
  ) STRICT;
`

/**
 * Creates the tables. WAL with synchronous=NORMAL: a commit reaches the operating system before it is acknowledged, so it
 * survives SIGKILL of this process; a power failure may lose the last commits but not the file.
 * @throws Error when the file was written by a newer version
 */
export const prepareSchema = (database: DatabaseSync): void => {
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4000;')
  const found = Number(database.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0)
  if (found > version) throw new Error(`the data directory has format ${found}; this version reads up to ${version}`)
  database.exec(schema)
  database.exec(`PRAGMA user_version = ${version}`)
}
