/** A waiting request as the index knows it. */
export interface ParkedRow {
  tenant: string
  id: string
  lane: string
  /** What wants room on the same deployments; see `classOf`. */
  class: string
  /** The provider's estimate of the call. */
  tokens: number
  /** Epoch ms. */
  acceptedMs: number
  /** Epoch ms; absent when it may wait for ever. */
  deadlineMs?: number | undefined
  /** Its worker died while it ran: its turn had come once, and it goes before all others. */
  interrupted?: boolean | undefined
  /** Names the lease under which the row was handed out; an answer under another one changes nothing. */
  turn?: number | undefined
}

/** Where a request stands in its own tenant and lane, and when its turn may come. */
export interface Place {
  /** Rows of its tenant and lane that are due before it. */
  position: number
  /**
   * Milliseconds from now: the early end if nothing more arrived, the late end if requests go on arriving for another
   * minute, or half as long as they have. Absent while nothing tells: a paused lane, no throughput yet.
   */
  etaMs?: readonly [number, number] | undefined
}

/** Why a row is handed out: its turn has come, its deadline has passed, or its lane was purged after it came. */
export type Because = 'turn' | 'expired' | 'purged'

export type Next =
  /** Leased to the caller, who ends the lease with `later`, `taken` or `drop`; a crash ends it after twenty seconds. */
  | { kind: 'row'; row: ParkedRow; because: Because }
  /** Nothing may be tried now; ask again then, or when something changes. */
  | { kind: 'none'; wakeInMs: number | undefined }

/** A lane as the index last told. */
export interface LaneView {
  rows: number
  tokens: number
  classes: Readonly<Record<string, number>>
  paused: boolean
  /** Requests accepted until then (epoch ms) are to be ended. */
  purgedUntilMs: number | undefined
  /** When the longest waiting row was accepted, epoch ms. */
  oldestMs: number | undefined
}

/** The index of waiting requests. Every method throws AppError `storage_unavailable` while Redis is away. */
export interface Parking {
  /**
   * Announces a row that is about to become `waiting`, so that a crash between the two writes leaves nothing out of the
   * index: should nobody `park` it, it is tried a few seconds later, and the row decides.
   */
  stage(row: ParkedRow): Promise<void>
  /**
   * The row waits for its turn. Said again it is moved, not doubled.
   * @param roomInMs admission's word that its class has no room before
   */
  park(row: ParkedRow, options?: { roomInMs?: number | undefined }): Promise<Place>
  /** As `park`, but the row is not tried before `ms` from now, wherever there is room. */
  delay(row: ParkedRow, ms: number): Promise<void>
  /** As `park`, but what is in there already is left as it is. */
  restore(row: ParkedRow): Promise<void>
  /** The next row of the lanes that have a slot for it. */
  next(openLanes: readonly string[]): Promise<Next>
  /** There was no room: for its class, for its tenant, or the row itself is better left alone for a while. */
  later(row: ParkedRow, afterMs: number, because: 'class' | 'tenant' | 'row'): Promise<void>
  /** It found room and runs. */
  taken(row: ParkedRow): Promise<void>
  /** It is over, or runs elsewhere. */
  drop(row: ParkedRow): Promise<void>
  /** Notes what ran without being parked while others waited; told to Redis with the next `next`. */
  charge(lane: string, tenant: string, tokens: number): void
  /** @returns undefined for a row that is not in the index */
  place(tenant: string, id: string): Promise<Place | undefined>
  /** For a request that has not been received yet: an estimate from what waits before it. */
  expect(lane: string, tenant: string): Promise<Place>
  /** Asks how things stand. */
  look(): Promise<ReadonlyMap<string, LaneView>>
  setPaused(lane: string, paused: boolean): Promise<void>
  purge(lane: string, untilMs: number): Promise<void>
  /** What was last heard, without asking. */
  readonly view: ParkingView
}

/** What a worker knows of the index between two calls; its own parks and dispatches are in it at once. */
export interface ParkingView {
  /** False until the index was heard of, and while it has to be rebuilt. */
  readonly known: boolean
  lane(name: string): LaneView
  /** Whether rows wait that go before a new one of this lane and class: of its own lane, or of one of more weight. */
  anyAhead(lane: string, className: string): boolean
  /** Whether anything waits in the lane or in one of more weight, for whatever deployments. */
  anyWaiting(lane: string): boolean
  /** Whether anything waits in any lane. */
  readonly anyRows: boolean
  /** The index does not answer: nothing is known of it until it does. */
  lost(): void
  /** Too many rows wait here: the queue holds the rest back. */
  isFull(lane: string): boolean
}
