import type { ResultLine } from '@sluice/contracts'
import { type Condition, condition, type RowPatch } from '@sluice/storage'
import { isoTime } from './iso-time.ts'
import type { Observed, ParkInput } from './ledger-types.ts'
import { heldStatuses as held, looseStatuses as loose, type Row, unownedStatuses as unowned } from './row.ts'

// Every transition of the state machine in row.ts, as one conditional patch each. None is conditional on the etag: a
// beat or a flip in between must not make a transition fail that is still right.

type Identified = Pick<Row, 'id' | 'tenant'>
type Started = Pick<Row, 'started_at' | 'first_started_at'>
type Fields = Partial<Row>

function transition(row: Identified, when: Condition, nowMs: number, set: Fields, add: Fields = {}): RowPatch {
  return {
    id: row.id,
    key: [row.tenant, row.id],
    when,
    operations: [
      ...Object.entries({ ...set, updated_at: isoTime(nowMs) }).map(([name, value]) => ({
        op: 'set' as const,
        path: `/${name}`,
        value: value as unknown,
      })),
      ...Object.entries(add).map(([name, value]) => ({ op: 'incr' as const, path: `/${name}`, value })),
    ],
  }
}

const claimed = (owner: string, nowMs: number): Fields => ({
  status: 'running',
  owner,
  beat: 0,
  started_at: isoTime(nowMs),
})
const counted: Fields = { fence: 1, attempts: 1 }

/** accepted → running, and waiting → running unless that is left to the parking index; under the next fence. */
export const claimPatch = (
  row: Identified,
  hash: string,
  owner: string,
  nowMs: number,
  leaveWaiting = false,
): RowPatch => {
  const from = leaveWaiting ? unowned.filter((status) => status !== 'waiting') : unowned
  return transition(row, condition`c.status IN (${from}) AND c.hash = ${hash}`, nowMs, claimed(owner, nowMs), counted)
}

/** accepted | waiting → running, under the next fence, for a request that is known by its id alone. */
export const takePatch = (row: Identified, owner: string, nowMs: number): RowPatch =>
  transition(row, condition`c.status IN (${unowned})`, nowMs, claimed(owner, nowMs), counted)

/** A sign of life. Its answer carries the status, which is how an owner learns of a cancellation. */
export const beatPatch = (row: Identified, fence: number, nowMs: number): RowPatch =>
  transition(row, condition`c.fence = ${fence} AND c.status IN (${held})`, nowMs, {}, { beat: 1 })

/** running | cancel_requested → terminal, by the owner. */
export const finishPatch = (row: Identified, fence: number, result: ResultLine, nowMs: number): RowPatch =>
  transition(row, condition`c.fence = ${fence} AND c.status IN (${held})`, nowMs, terminal(result, nowMs))

/** running → waiting, by the owner. The claim did not crash, so it does not count. */
export const parkPatch = (row: Row, input: ParkInput, nowMs: number): RowPatch =>
  transition(
    row,
    condition`c.fence = ${row.fence} AND c.status = 'running'`,
    nowMs,
    { ...waiting(input), owner: null, beat: 0, ...firstStart(row) },
    { attempts: -1 },
  )

/** accepted → waiting, by whoever saw that nobody came for it. */
export const shelvePatch = (seen: Observed, input: ParkInput, nowMs: number): RowPatch =>
  transition(seen, asObserved(seen), nowMs, { ...waiting(input), beat: 0 })

/** running → accepted, by the owner, who did nothing. */
export const giveBackPatch = (row: Row, nowMs: number): RowPatch =>
  transition(
    row,
    condition`c.fence = ${row.fence} AND c.status = 'running'`,
    nowMs,
    { status: 'accepted', owner: null, beat: 0, ...firstStart(row) },
    { attempts: -1 },
  )

/** accepted | waiting | packing → terminal, by whoever saw it so. */
export const endUnownedPatch = (row: Identified & { fence: number }, result: ResultLine, nowMs: number): RowPatch =>
  transition(row, condition`c.fence = ${row.fence} AND c.status IN (${loose})`, nowMs, terminal(result, nowMs))

/** running → cancel_requested: the owner's next beat tells it. */
export const requestCancelPatch = (row: Row, nowMs: number): RowPatch =>
  transition(row, condition`c.fence = ${row.fence} AND c.status = 'running'`, nowMs, { status: 'cancel_requested' })

/** running → packing, by the owner. The claim did not crash, so it does not count. */
export const packPatch = (row: Row, nowMs: number): RowPatch =>
  transition(
    row,
    condition`c.fence = ${row.fence} AND c.status = 'running'`,
    nowMs,
    { status: 'packing', packed_in: null, owner: null, beat: 0, ...firstStart(row) },
    { attempts: -1 },
  )

/** packing → packing, in a batch. */
export const gatherPatch = (row: Identified, batch: string, nowMs: number): RowPatch =>
  transition(row, condition`c.status = 'packing' AND c.packed_in = ${null}`, nowMs, { packed_in: batch })

/** packing → terminal, with the answer of its batch. */
export const finishPackedPatch = (row: Identified, batch: string, result: ResultLine, nowMs: number): RowPatch =>
  transition(row, condition`c.status = 'packing' AND c.packed_in = ${batch}`, nowMs, terminal(result, nowMs))

/** packing → accepted, under the next fence: its lane's message is to follow. */
export const unpackPatch = (row: Identified, batch: string | null, nowMs: number): RowPatch =>
  transition(
    row,
    condition`c.status = 'packing' AND c.packed_in = ${batch}`,
    nowMs,
    { status: 'accepted', packed_in: null, beat: 0 },
    { fence: 1 },
  )

const asObserved = ({ fence, beat, status }: Observed) =>
  condition`c.fence = ${fence} AND c.beat = ${beat} AND c.status = ${status}`

/** running → accepted under the next fence, by a sweeper that saw the owner stand still. */
export const takeOverPatch = (seen: Observed, nowMs: number): RowPatch =>
  transition(
    seen,
    asObserved(seen),
    nowMs,
    { status: 'accepted', owner: null, beat: 0, ...firstStart(seen) },
    { fence: 1 },
  )

/** cancel_requested → cancelled under the next fence, by a sweeper that saw the owner stand still. */
export const reapPatch = (seen: Observed, result: ResultLine, nowMs: number): RowPatch =>
  transition(seen, asObserved(seen), nowMs, { ...terminal(result, nowMs), owner: null }, { fence: 1 })

/** Moves what a sweeper saw, and nothing else: whoever saw the same does not act as well. */
export const touchPatch = (seen: Observed, nowMs: number): RowPatch =>
  transition(seen, asObserved(seen), nowMs, {}, { beat: 1 })

const waiting = ({ notBeforeMs, class: name, tokens }: ParkInput): Fields => ({
  status: 'waiting',
  not_before: isoTime(notBeforeMs),
  ...(name === undefined || tokens === undefined ? {} : { parked: { class: name, tokens } }),
})

// The beat starts anew, because a sweeper's waits double with the beats of a row that nobody owns.
const terminal = (result: ResultLine, nowMs: number): Fields => ({
  status: result.sluice.status,
  result,
  published: false,
  beat: 0,
  finished_at: isoTime(nowMs),
})

const firstStart = ({ first_started_at, started_at }: Started): Fields => {
  const first = first_started_at ?? started_at
  return first === undefined ? {} : { first_started_at: first }
}
