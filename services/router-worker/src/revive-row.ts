import { type Ledger, type Observed, type Row, rowMessage } from '@sluice/ledger'
import type { Sender } from '@sluice/messaging'
import { parkedRow, type Parking } from '@sluice/parking'
import type { Classify } from './classify.ts'
import { parkAccepted, type WaitDeps } from './wait-for-room.ts'

interface ReviveDeps extends WaitDeps {
  ledger: Ledger
  parking: Parking
  classify: Classify
  /** Of every lane. */
  senders: ReadonlyMap<string, Sender>
  /** Lanes whose requests stay in line with their session's messages. */
  hasSessions: (lane: string) => boolean
}

const bodyDeadlineMs = 10_000

/**
 * Sees to a row that stood still although nobody owns it. It goes to the index and not back to its queue: one that is sent
 * again and again while its message waits in a long queue would make that queue longer. A conversation's row goes to its
 * queue, where its place is; and while the index is away so does every other.
 */
export function createReviveRow(deps: ReviveDeps): (row: Row) => Promise<void> {
  const { ledger, parking, senders, classify } = deps
  const send = async (row: Row) => senders.get(row.lane)?.send(rowMessage(row))

  return async (row) => {
    if (deps.hasSessions(row.lane)) {
      if (!stillInQueue(row)) await send(row)
    } else if (!parking.view.known) {
      await send(row)
    } else if (row.status === 'waiting') {
      await parking.restore(parkedRow(row))
    } else {
      const body = await ledger.body(row, AbortSignal.timeout(bodyDeadlineMs))
      await parkAccepted(deps, row, classify(row, body))
    }
  }
}

/**
 * Whether the message of a conversation's row is known to be in its queue: it was received once, and is settled only when
 * the request is over.
 */
const stillInQueue = ({ started_at, first_started_at }: Pick<Row, 'started_at' | 'first_started_at'>): boolean =>
  started_at !== undefined || first_started_at !== undefined

/** Rows that stand still because their lane does, or because they wait in a conversation's line. */
export const createIsHeldBack =
  (isClosed: (lane: string) => boolean, hasSessions: (lane: string) => boolean) =>
  (row: Observed): boolean =>
    row.status === 'accepted' && (isClosed(row.lane) || (hasSessions(row.lane) && stillInQueue(row)))
