import {
  type BodyRef,
  type FileRef,
  type Limits,
  type LineUrl,
  type RequestBody,
  type RequestLine,
  type ResultLine,
  type SluiceOptions,
  type TerminalStatus,
  terminalStatuses,
} from '@sluice/contracts'

/**
 * A request's states. Every arrow is one conditional patch on the row's `fence` and `status`; whoever loses the race
 * gets a 412 and touches nothing.
 *
 * ```
 *            accept                     claim (fence + 1)                finish (same fence)
 *   (none) ─────────▶ accepted ───────────────────────▶ running ───────────────────────▶ succeeded | failed
 *                      │  ▲ ▲                            │ │ │                           | cancelled | expired
 *                      │  │ └── giveBack (same fence) ───┘ │ │
 *                      │  └──── takeOver (fence + 1) ──────┤ │ cancel
 *                      │                                   │ ▼
 *                      │ cancel, expire       park ┌───────┘ cancel_requested ── finish, or reap (fence + 1) ──▶ terminal
 *                      │ ──────── shelve ────────▶ │
 *                      ▼                           ▼
 *                   cancelled | expired ◀────── waiting ── claim, or take (fence + 1) ──▶ running
 * ```
 *
 * Bulk work that can wait for the Batch API takes a way of its own, in packing.ts: running ── pack (same fence) ──▶ packing,
 * from there into a batch and with its answer to succeeded | failed, or ── unpack (fence + 1) ──▶ accepted.
 *
 * Invariants, which the property test drives with random interleavings:
 * - `fence` never falls, and rises with every change of owner. Only the claim that holds the current fence can finish,
 *   park or give back, and only while the row is `running` or `cancel_requested`.
 * - The first terminal patch wins; a terminal row keeps its status and result for ever.
 * - (fence, beat, status) changes whenever somebody works on the row, so a sweeper that saw it stand still for the
 *   lease on its own clock knows that nobody does.
 * - `published` is false from birth until the result's event is known to be on the topic: one predicate finds
 *   everything that still needs somebody.
 */
export type RowStatus = (typeof heldStatuses)[number] | (typeof looseStatuses)[number] | TerminalStatus

/** A claim holds the row. */
export const heldStatuses = ['running', 'cancel_requested'] as const
/** The row waits for a claim. */
export const unownedStatuses = ['accepted', 'waiting'] as const

/**
 * Nobody holds the row. One that is `packing` waits for the Batch API instead of a claim: the transitions of packing.ts
 * take it into a batch, finish it from there, or give it back to its lane.
 */
export const looseStatuses = [...unownedStatuses, 'packing'] as const

/** Every status, for those who validate one. */
export const rowStatuses = [...looseStatuses, ...heldStatuses, ...terminalStatuses] as const

export const isHeld = (status: RowStatus): boolean => (heldStatuses as readonly RowStatus[]).includes(status)
export const isUnowned = (status: RowStatus): boolean => (unownedStatuses as readonly RowStatus[]).includes(status)

export const isLoose = (status: RowStatus): boolean => (looseStatuses as readonly RowStatus[]).includes(status)

/** How the request came in. */
export type Via = 'http' | 'service-bus'

/** How a waiting request counts in the parking index. */
export interface ParkedAs {
  /** Requests of one class want room on the same deployments. */
  class: string
  /** The provider's estimate of the call. */
  tokens: number
}

/** A key's own limits when it submitted a request. */
export interface KeyLimits extends Limits {
  /** Names the key, the same after a rotation. */
  principal: string
}

/** The line without its body, which is kept beside it. A line that could not be read has no url. */
export interface RowLine {
  custom_id: string
  method: 'POST'
  url?: LineUrl
  /** The recording of a transcription; it stays in Blob. */
  file_ref?: FileRef
  sluice?: SluiceOptions
}

/** A request's row in the container `requests`. Times are RFC 3339 in UTC, so that their text sorts as they do. */
export interface Row {
  /** The request id: a hash of tenant and key. */
  id: string
  tenant: string
  schema: 1
  status: RowStatus
  /** Counts changes of owner; the right to write belongs to the claim that holds the current one. */
  fence: number
  /** Counts signs of life under the current fence. */
  beat: number
  /** Names the claim that holds the fence, one of a kind, so that an answer lost on the wire is recognised afterwards. */
  owner: string | null
  /** Claims that ended neither in a park nor in a give-back: the crashes so far, plus one while it runs. */
  attempts: number
  /** The caller's idempotency key, or what stands in for it. */
  key: string
  /** What the key stands for: two requests with one key must have one hash. */
  hash: string
  lane: string
  line: RowLine
  /** Absent when the body is large and `body_ref` says where it is. */
  body?: RequestBody
  body_ref?: BodyRef
  via: Via
  reply_to?: string
  reply_to_session_id?: string
  /** The session of the message that brought it: what is sent again must stay in line with it. */
  session_id?: string
  /** Of a key that has some: they count when the request runs, too. */
  key_limits?: KeyLimits
  traceparent?: string
  accepted_at: string
  updated_at: string
  /** The current claim's start. */
  started_at?: string
  /** The first claim's start, kept when a later claim overwrites `started_at`. */
  first_started_at?: string
  finished_at?: string
  /** A `waiting` row is left alone by sweepers until then. */
  not_before?: string
  /** What the parking index needs to know of a `waiting` row, so that it can be rebuilt from the rows alone. */
  parked?: ParkedAs
  /** The batch that a `packing` row was taken into; null while it waits for one. */
  packed_in?: string | null
  /** `line.sluice.deadline` in UTC. */
  deadline?: string
  /** The stored result; terminal rows have one. */
  result?: ResultLine
  published: boolean
}

/** What a list shows of a row: everything but the body and the result. */
export type RowSummary = Omit<Row, 'body' | 'body_ref' | 'result' | 'hash' | 'owner'>

/** The line of a row, as it can be sent again. A body kept in Blob travels as its claim check. */
export function lineOf(row: Row): RequestLine {
  const { url } = row.line
  if (url === undefined) throw new TypeError(`${row.id} was never a readable line`)
  return {
    ...row.line,
    url,
    ...(row.body_ref === undefined ? {} : { body_ref: row.body_ref }),
    ...(row.body === undefined ? {} : { body: row.body }),
  }
}
