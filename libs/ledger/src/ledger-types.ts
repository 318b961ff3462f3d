import type {
  Decision,
  DeliverTarget,
  RequestBody,
  RequestLine,
  ResultLine,
  TerminalStatus,
  Usage,
} from '@sluice/contracts'
import type { AppError } from '@sluice/errors'
import type { KeyLimits, ParkedAs, Row, RowStatus, RowSummary, Via } from './row.ts'

/** What the ledger needs to know of a request, whichever way it came in. */
export interface Arrival {
  tenant: string
  /** The caller's idempotency key, else the message id, else queue and sequence number. */
  key: string
  line: RequestLine
  lane: string
  via: Via
  replyTo?: string | undefined
  replyToSessionId?: string | undefined
  /** Of the message that brings it. */
  sessionId?: string | undefined
  /** Of the key that submitted it. */
  keyLimits?: KeyLimits | undefined
  traceparent?: string | undefined
}

export interface ClaimInput extends Arrival {
  /** True when ingest or a sweeper sent the message, so that the row is there and one patch claims it. */
  expectExisting: boolean
  /** When the broker took the message, epoch ms; a row that the claim creates counts its waiting from then. */
  enqueuedAt: number
  /** Leaves a waiting row to the parking index, which knows whose turn it is. */
  leaveWaiting?: boolean | undefined
}

/**
 * The right to work on a request. It beats until finish, park or giveBack ends it; whoever gives up without one of them
 * must release it, or the row would look alive for as long as the process is.
 */
export interface Claim {
  /** The row as it was claimed; `row.attempts` counts this claim too. */
  readonly row: Row
  readonly fence: number
  /** Aborts with AppError `lease_lost` (a successor owns the row) or `cancelled` (finish it as cancelled). */
  readonly signal: AbortSignal
  /** @throws AppError `body_ref_not_found`, `body_ref_mismatch`, `invalid_line`, `storage_unavailable`. */
  body(): Promise<RequestBody>
  /** Stops beating without a word to the row: a sweeper takes it over after the lease. Idempotent. */
  release(): void
}

export type ClaimResult =
  | { kind: 'claimed'; claim: Claim }
  /** A redelivery: the result is stored. Publish it and complete; do not call. */
  | { kind: 'finished'; row: Row }
  /** Running under somebody else's fence. Complete the message: should that owner die, a sweeper sends it again. */
  | { kind: 'owned'; row: Row }
  /** Parked, and `leaveWaiting` was said: the index brings its turn. */
  | { kind: 'waiting'; row: Row }

export interface FinishInput {
  status: TerminalStatus
  response?: ResultLine['response'] | undefined
  error?: ResultLine['error'] | undefined
  decision?: Decision | null | undefined
  usage?: Usage | undefined
  costUsd?: number | undefined
  /** The part of it for answers that were not used. */
  wasteUsd?: number | undefined
  /** Time spent in calls of deployments. */
  modelMs?: number | undefined
}

/** What becomes of a request that waits for capacity. */
export interface ParkInput extends Partial<ParkedAs> {
  /** Epoch ms from which a sweeper looks after the row, should nobody else have come to it by then. */
  notBeforeMs: number
}

export interface RejectInput {
  tenant: string
  key: string
  lane: string
  via: Via
  /** What was sent: the line, or the bytes in which none could be read. Its hash recognises a redelivery. */
  content: RequestLine | Uint8Array
  /** The line of a message that was sent for a row: by its hash the row is recognised, nothing else of it is stored. */
  sentFor?: RequestLine | undefined
  /** Salvaged from unreadable bytes. */
  customId?: string | undefined
  deliver?: DeliverTarget[] | undefined
  enqueuedAt: number
  error: AppError
  replyTo?: string | undefined
  replyToSessionId?: string | undefined
  traceparent?: string | undefined
}

export interface ListInput {
  status?: RowStatus | undefined
  lane?: string | undefined
  customId?: string | undefined
  /** Accepted at or after, RFC 3339. */
  since?: string | undefined
  /** Accepted before, RFC 3339. */
  until?: string | undefined
  /** 1 to 100. */
  limit: number
  /** From the page before. */
  continuation?: string | undefined
}

/** What a sweeper sees of a row that still needs somebody. */
export interface Observed {
  id: string
  tenant: string
  status: RowStatus
  fence: number
  beat: number
  lane: string
  updated_at: string
  started_at?: string
  first_started_at?: string
  deadline?: string
}

/** The sweeper's transitions: each applies only while the row is exactly as observed, else answers undefined. */
export interface SweepTransitions {
  /** Rows that are not settled for good, the longest untouched first, after `after` in that order. */
  unsettled(input: { after?: Observed | undefined; limit: number }): Promise<Observed[]>
  /** running → accepted under the next fence. */
  takeOver(observed: Observed): Promise<Row | undefined>
  /** Counts a beat, so that of many sweepers one acts, and every other waits for another lease. */
  touch(observed: Observed): Promise<Row | undefined>
  /** accepted | waiting → expired | cancelled; cancel_requested → cancelled under the next fence. */
  end(observed: Observed, status: 'expired' | 'cancelled'): Promise<Row | undefined>
}

/** What the parking index keeps of a row. */
export type WaitingRow = Pick<
  Row,
  'id' | 'tenant' | 'lane' | 'status' | 'attempts' | 'accepted_at' | 'updated_at' | 'deadline' | 'parked'
>

/** What the packer looks at to gather rows. */
export type PackingRow = Pick<Row, 'id' | 'tenant' | 'lane' | 'line' | 'accepted_at' | 'updated_at' | 'deadline'>

/** The ways of a request through the Batch API. `batch` is the id of the logical batch that holds it. */
export interface Packing {
  /** Stores a batch's line as a request of its own, `packing` from birth; one that is there already stays as it is. */
  open(input: Arrival & { batch: string }): Promise<Row>
  /** Rows that are in no batch, the longest waiting first, after `after` in that order. */
  loose(input: { after?: PackingRow | undefined; limit: number }): Promise<PackingRow[]>
  /** Takes a row into a batch. @returns false when it has gone elsewhere */
  gather(row: Pick<Row, 'id' | 'tenant'>, batch: string): Promise<boolean>
  /** A batch's rows in the order of their ids, after that one. */
  of(tenant: string, batch: string, page: { after: string; limit: number }): Promise<Row[]>
  /** Stores a batch's answer. @returns the row, ready to publish; undefined when it ended or left the batch before */
  finish(row: Pick<Row, 'id' | 'tenant'>, batch: string, outcome: FinishInput): Promise<Row | undefined>
  /** Gives a row back to its lane: packing → accepted. @returns it, to be sent; undefined when it has gone elsewhere */
  unpack(row: Pick<Row, 'id' | 'tenant'>, batch: string | null): Promise<Row | undefined>
}

/**
 * Rows, transitions and outbox. Every method answers within its deadline or throws AppError `storage_unavailable`,
 * after which nothing is decided: the same call with the same key is safe.
 */
export interface Ledger {
  /**
   * HTTP: stores the request as `accepted`, or finds it stored (`created` false).
   * @throws AppError `idempotency_conflict` when the key stands for another request.
   */
  accept(input: Arrival): Promise<{ row: Row; created: boolean }>
  /**
   * Makes the caller the owner of the request, creating its row when it has none.
   * @throws AppError `idempotency_conflict` when the key stands for another request.
   */
  claim(input: ClaimInput): Promise<ClaimResult>
  /** Notes that a model is being called under the claim; a lease lost after that counts as a double call. */
  callStarted(claim: Claim): void
  /** No capacity now: running → waiting. @throws AppError `lease_lost`, `cancelled`. */
  park(claim: Claim, input: ParkInput): Promise<Row>
  /**
   * Makes the caller the owner of a stored request whose turn has come: accepted | waiting → running.
   * @returns undefined when there is no such row
   */
  take(row: Pick<Row, 'id' | 'tenant'>): Promise<ClaimResult | undefined>
  /** A row's body, which a claim is not needed for. @throws as {@link Claim.body} does. */
  body(row: Row, signal: AbortSignal): Promise<RequestBody>
  /** accepted → waiting, exactly as seen. @returns undefined when the row has moved on */
  shelve(row: Row, input: ParkInput): Promise<Row | undefined>
  /** Every row that waits, the one that moved last at the end, after `after` in that order. */
  waiting(input: { after?: WaitingRow | undefined; limit: number }): Promise<WaitingRow[]>
  /** The request can wait for the Batch API: running → packing. @throws AppError `lease_lost`, `cancelled`. */
  pack(claim: Claim): Promise<Row>
  /** Undoes the claim, so that a redelivery can claim at once. @throws AppError `lease_lost`, `cancelled`. */
  giveBack(claim: Claim): Promise<Row>
  /**
   * Stores the result; a large response body goes to Blob first. Retries while storage is away, up to its deadline.
   * @throws AppError `lease_lost` when a successor owns the row or the result of another came first.
   */
  finish(claim: Claim, outcome: FinishInput): Promise<Row>
  /**
   * Stores `failed` for something that never ran: bad input, or a line that was delivered too often. A request that is
   * running under the key is left to its owner; its row is returned as it is.
   * @throws AppError `idempotency_conflict` when the key stands for another request.
   */
  reject(input: RejectInput): Promise<Row>
  /** The result's event is on the topic. Lazy and batched: a lost flip only publishes the event again. */
  markPublished(row: Row): void
  get(tenant: string, id: string): Promise<Row | undefined>
  /** Newest first. @throws AppError `invalid_line` (param `continuation`) for a continuation that is none of ours. */
  list(tenant: string, input: ListInput): Promise<{ rows: RowSummary[]; continuation?: string }>
  /**
   * accepted | waiting → cancelled, ready to publish; running → cancel_requested, for its owner to end. A terminal row
   * is returned as it is. @throws AppError `not_found`.
   */
  cancel(tenant: string, id: string): Promise<Row>
  readonly sweeping: SweepTransitions
  readonly packing: Packing
  /** Writes the pending flips and stops the beats of claims still held. */
  close(): Promise<void>
}
