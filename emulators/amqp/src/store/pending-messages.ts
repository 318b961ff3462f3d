import type { PackedBytes } from '../amqp/packed-bytes.ts'
import type { BrokeredMessage, LoadedMessage } from '../service-bus/brokered-message.ts'

/** What a commit has to do for one row. `bare` is kept apart: the queue may drop its own once the journal has the message. */
export type PendingRow =
  | { kind: 'insert'; entity: number; message: BrokeredMessage; bare: PackedBytes }
  | { kind: 'update'; message: BrokeredMessage }
  | { kind: 'replace'; message: BrokeredMessage; bare: PackedBytes }

/**
 * The rows of messages that have changed since the last commit. A commit is atomic, so only what a row is by then has to be
 * written: a message that is locked in the turn in which it arrived is one insert, and one that is settled in it is nothing.
 * State, lock and delivery count are read when they are written; nobody changes them without recording it.
 */
export class PendingMessages {
  readonly rows = new Map<number, PendingRow>()
  /** Rows that are in the table and must not be. */
  removed: number[] = []

  insert(entity: number, message: LoadedMessage): void {
    this.rows.set(message.rowId, { kind: 'insert', entity, message, bare: message.bare })
  }

  update(message: BrokeredMessage): void {
    if (!this.rows.has(message.rowId)) this.rows.set(message.rowId, { kind: 'update', message })
  }

  replace(message: BrokeredMessage, bare: PackedBytes): void {
    const row = this.rows.get(message.rowId)
    if (row?.kind === 'insert') row.bare = bare
    else this.rows.set(message.rowId, { kind: 'replace', message, bare })
  }

  remove(rowId: number): void {
    const row = this.rows.get(rowId)
    this.rows.delete(rowId)
    if (row?.kind !== 'insert') this.removed.push(rowId)
  }

  bareOf(rowId: number): PackedBytes | undefined {
    const row = this.rows.get(rowId)
    return row === undefined || row.kind === 'update' ? undefined : row.bare
  }

  clear(): void {
    this.rows.clear()
    this.removed = []
  }
}

/** Sorted row numbers as ranges without gaps. */
export const rangesOf = (rowIds: number[]): { first: number; last: number }[] => {
  const ranges: { first: number; last: number }[] = []
  let current: { first: number; last: number } | undefined
  for (const rowId of rowIds.toSorted((a, b) => a - b)) {
    if (current !== undefined && rowId <= current.last + 1) current.last = rowId
    else ranges.push((current = { first: rowId, last: rowId }))
  }
  return ranges
}
