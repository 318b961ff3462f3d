import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setImmediate } from 'node:timers/promises'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { pack, type PackedBytes } from '../amqp/packed-bytes.ts'
import type { BrokeredMessage, LoadedMessage } from '../service-bus/brokered-message.ts'
import type { RestoreVisitor } from './journal.ts'
import { sqliteJournal } from './sqlite-journal.ts'

const ignore = (): void => undefined
const message = (rowId: number): LoadedMessage => ({
  rowId,
  sequenceNumber: rowId + 1000,
  enqueuedSequenceNumber: 0,
  enqueuedAtMs: 5,
  expiresAtMs: Infinity,
  ttlMs: undefined,
  scheduledAtMs: undefined,
  state: 'active',
  deliveryCount: 0,
  deadLetterSource: undefined,
  messageId: `m${rowId}`,
  sessionId: rowId % 2 === 0 ? 's' : undefined,
  durable: true,
  priority: 4,
  annotations: Buffer.from([0xa3, 1, 120, 0x40]),
  annotationCount: 1,
  bare: pack(Buffer.from(`body ${rowId}`)),
  bareBytes: `body ${rowId}`.length,
  lock: undefined,
})

const inDirectory = async (run: (directory: string) => Promise<void>): Promise<void> => {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-amqp-journal-'))
  try {
    await run(directory)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** What a restart finds, by row. */
const restored = (directory: string): BrokeredMessage[] => {
  const journal = sqliteJournal(directory, () => 0)
  const found: BrokeredMessage[] = []
  const visitor: RestoreVisitor = {
    sessionLock: ignore,
    message: (_, stored) => void found.push(stored),
    sequence: ignore,
    sessionState: ignore,
    duplicate: ignore,
    rules: ignore,
    event: ignore,
    run: ignore,
  }
  journal.restore(visitor)
  journal.close()
  return found
}

type Step = { row: number; act: 'insert' | 'lock' | 'unlock' | 'defer' | 'replace' | 'remove' } | 'turn'
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 1, arbitrary: fc.constant('turn' as const) },
  {
    weight: 4,
    arbitrary: fc.record({
      row: fc.integer({ min: 1, max: 5 }),
      act: fc.constantFrom('insert', 'lock', 'unlock', 'defer', 'replace', 'remove'),
    }),
  },
)

test('whatever happens to messages, within a turn or over several, a restart finds them as they were last', () =>
  fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), (steps) =>
      inDirectory(async (directory) => {
        const journal = sqliteJournal(directory, () => 0)
        const live = new Map<number, LoadedMessage>()
        const used = new Set<number>()
        let locks = 0
        for (const each of steps) {
          if (each === 'turn') {
            await setImmediate()
            continue
          }
          const { row, act } = each
          const known = live.get(row)
          if (act === 'insert') {
            if (used.has(row)) continue
            used.add(row)
            live.set(row, message(row))
            journal.insertMessage(1, live.get(row) ?? message(row))
          } else if (known !== undefined) {
            if (act === 'remove') {
              live.delete(row)
              journal.removeMessage(row)
              continue
            }
            if (act === 'lock') known.lock = { id: ++locks, lockedUntilMs: 100 + locks, owner: undefined }
            if (act === 'unlock') {
              known.lock = undefined
              known.deliveryCount++
            }
            if (act === 'defer') known.state = 'deferred'
            if (act === 'replace') {
              known.bare = `${known.bare}!` as PackedBytes
              known.bareBytes++
              journal.replaceMessage(known, known.bare)
            } else journal.updateMessage(known)
          }
          for (const [rowId, { bare }] of live) expect(journal.readBare?.(rowId)).toBe(bare)
        }
        journal.close()
        const byRow = (a: BrokeredMessage, b: BrokeredMessage) => a.rowId - b.rowId
        expect(restored(directory).toSorted(byRow)).toEqual([...live.values()].toSorted(byRow))
      }),
    ),
    { numRuns: 60 },
  ))

test('a restart visits the unlocked messages first, by age, and then the locked ones as their locks end', () =>
  inDirectory(async (directory) => {
    const journal = sqliteJournal(directory, () => 0)
    const messages = [1, 2, 3, 4].map(message)
    for (const each of messages) journal.insertMessage(1, each)
    await setImmediate()
    for (const [index, lockedUntilMs] of [
      [0, 300],
      [2, 200],
    ] as const) {
      const locked = messages[index]
      if (locked === undefined) continue
      locked.lock = { id: index + 1, lockedUntilMs, owner: undefined }
      journal.updateMessage(locked)
    }
    journal.close()
    expect(restored(directory).map(({ rowId }) => rowId)).toEqual([2, 4, 3, 1])
  }))

test('afterCommit runs once the turn is committed, and at once when nothing is open', () =>
  inDirectory(async (directory) => {
    const journal = sqliteJournal(directory, () => 0)
    const ran: string[] = []
    journal.afterCommit(() => ran.push('before'))
    journal.insertMessage(1, message(1))
    journal.removeMessage(1)
    journal.afterCommit(() => ran.push('after'))
    expect(ran).toEqual(['before'])
    await setImmediate()
    expect(ran).toEqual(['before', 'after'])
    journal.close()
    expect(restored(directory)).toEqual([])
  }))

const formatOne = `
  CREATE TABLE messages (
    id INTEGER PRIMARY KEY, entity INTEGER NOT NULL, sequence INTEGER NOT NULL, enqueued_sequence INTEGER NOT NULL,
    enqueued_at INTEGER NOT NULL, expires_at INTEGER, ttl INTEGER, scheduled_at INTEGER, state TEXT NOT NULL,
    delivery_count INTEGER NOT NULL, dead_letter_source TEXT, message_id TEXT NOT NULL, session_id TEXT,
    durable INTEGER NOT NULL, priority INTEGER NOT NULL, annotation_count INTEGER NOT NULL, annotations BLOB NOT NULL,
    lock_id INTEGER, locked_until INTEGER, bare BLOB NOT NULL
  ) STRICT;
  INSERT INTO messages VALUES
    (1, 1, 11, 0, 5, NULL, NULL, NULL, 'active', 2, NULL, 'a', NULL, 1, 4, 0, x'', 7, 900, x'78'),
    (2, 1, 12, 0, 5, NULL, NULL, NULL, 'deferred', 0, NULL, 'b', NULL, 1, 4, 0, x'', NULL, NULL, x'79');
  PRAGMA user_version = 1;`

test('a directory of format 1 is read, and goes on as format 2', () =>
  inDirectory(async (directory) => {
    const file = join(directory, 'messages.db')
    const old = new DatabaseSync(file)
    old.exec(formatOne)
    old.close()
    const [deferred, locked] = restored(directory)
    expect(deferred).toMatchObject({ rowId: 2, state: 'deferred', deliveryCount: 0, lock: undefined, bare: 'y' })
    expect(locked).toMatchObject({ rowId: 1, deliveryCount: 2, lock: { id: 7, lockedUntilMs: 900 }, bare: 'x' })
    if (locked === undefined || deferred === undefined) return
    const journal = sqliteJournal(directory, () => 0)
    locked.lock = undefined
    locked.deliveryCount = 3
    journal.updateMessage(locked)
    journal.removeMessage(deferred.rowId)
    journal.close()
    expect(restored(directory)).toMatchObject([{ rowId: 1, deliveryCount: 3, lock: undefined, bare: 'x' }])
    const newer = new DatabaseSync(file)
    newer.exec('PRAGMA user_version = 3')
    newer.close()
    expect(() => sqliteJournal(directory, () => 0)).toThrow(/format 3/)
  }))
