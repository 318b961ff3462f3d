import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import rhea from 'rhea'
import type { FrameOutput, WholeTransfer } from './frame-output.ts'
import type { ReplyLink } from './request-link.ts'
import type { Connection, Receiver, Sender, Session } from 'rhea'

// What this server uses of rhea beyond its published types. The version is pinned; contract tests cover each use.

export type RheaDelivery = {
  readonly id: number
  readonly tag: Buffer | undefined
  /** Null or absent for format 0, see session-guard.ts. */
  readonly format: number | null | undefined
  settled: boolean
  remote_settled: boolean
  data?: Buffer[]
  /** Which of `data` is sent next. */
  next_to_send?: number
  frames?: Buffer[]
  link?: unknown
  update(settled: boolean | undefined, state?: unknown): void
  /** Set by this server on deliveries that are locked. */
  lockId?: number
}

export type TypedValue = { type: { typecode: number }; value: unknown; descriptor?: { value: unknown } }

export type Performative = {
  value: unknown[]
  role: boolean
  first: number
  last: number | undefined
  settled: boolean | undefined
  state: TypedValue | undefined
  more: boolean | undefined
  aborted: boolean | undefined
  delivery_id: number | undefined
  message_format: number | undefined
  echo: boolean | undefined
  drain: boolean | undefined
}

export type Frame = { performative: Performative; payload?: Buffer }

type LinkInternals = {
  credit: number
  delivery_count: number
  issue_flow: boolean
  state: { local_open: boolean; open_requests: number }
  local: { attach: Record<string, unknown>; handle: number }
  remote: { attach?: Record<string, unknown> & { source?: unknown; target?: unknown } }
  connection: RheaConnection
}

export type RheaSender = Sender &
  LinkInternals & {
    session: RheaSession
    _draining: boolean
    _drained: boolean
    _get_drain(): boolean
    on_flow(frame: Frame): void
    /** This server's handler for the client's dispositions. */
    onDisposition?: (delivery: RheaDelivery, state: TypedValue | undefined, settled: boolean) => void
  }

export type RheaReceiver = Receiver &
  LinkInternals & {
    session: RheaSession
    _incomplete: RheaDelivery | undefined
    /** Set by this server: transfers are dropped because the link was refused or misused. */
    refused?: boolean
    /** Set by this server: the largest transfer that is kept. */
    maxBytes?: number
    /** Bytes of the delivery that is arriving. */
    arrivedBytes?: number
    /** Size of the delivery just arrived, when it was larger than `maxBytes` and not kept. */
    oversizedBytes?: number
  }

type Outgoing = {
  deliveries: { by_id(id: number): (RheaDelivery & { link: RheaSender }) | undefined }
  pending_dispositions: unknown[]
  next_delivery_id: number
  /** Deliveries below this number have been written to the socket. */
  next_pending_delivery: number
  next_transfer_id: number
  window: number
  available(): number
  /** How many transfers the peer takes. */
  transfer_window(): number
  process(): void
}

/** A frame that waits to be written: one of rhea's, or one of this server's own. */
export type OutgoingFrame = RheaFrame | { transfer: WholeTransfer }
type RheaFrame = { channel: number; performative: unknown; payload: Buffer | undefined }

type Transport = {
  pending: OutgoingFrame[]
  header_sent: unknown
  encode(frame: OutgoingFrame): void
  write(socket: Socket): void
}

export type RheaSession = Session & {
  outgoing: Outgoing
  incoming: { next_transfer_id: number; next_delivery_id: number | undefined }
  links: Record<string, unknown>
  local: { channel: number }
  /** Deliveries promised to links of this session but not yet given to rhea. */
  reserved?: number
  /** Set by this server: where the request nodes used on this session answer, by address. */
  replyLinks?: Map<string, ReplyLink>
  output(frame: unknown): void
  on_transfer(frame: Frame): void
  on_disposition(frame: Frame): void
  on_attach(frame: Frame): void
  _get_link(frame: Frame): unknown
}

export type RheaConnection = Connection & {
  frame_size: number | undefined
  local_channel_map: Record<string, unknown>
  amqp_transport: Transport
  /** Set by this server. */
  frameOutput?: FrameOutput
  output(): void
  _write_frame(channel: number, performative: unknown, payload?: Buffer): void
  accept(socket: unknown): void
  input(bytes: Buffer): void
  on_begin(frame: Frame): void
  _register(): void
  _process(): void
  _disconnected(error?: Error): void
}

type Outcomes = {
  accepted(): { described(): unknown }
  released(): { described(): unknown }
  modified(fields: object): { described(): unknown }
  rejected(fields: { error?: unknown }): { described(): unknown }
}

const outcomes = rhea.message as unknown as Outcomes

/** One shared accepted state: rhea writes it as it is, and merges neighbours that have it into one disposition. */
export const acceptedState = outcomes.accepted().described()

/** What a settlement that was carried out is answered with: the service echoes the outcome, a rejection without an error. */
export const echoedStates: Record<'accepted' | 'rejected' | 'released' | 'modified', unknown> = {
  accepted: acceptedState,
  rejected: outcomes.rejected({}).described(),
  released: outcomes.released().described(),
  modified: outcomes.modified({}).described(),
}

export const frames = createRequire(import.meta.url)('rhea/lib/frames.js') as {
  amqp_frame(channel: number, performative: unknown, payload: Buffer | undefined): RheaFrame
  write_frame(frame: RheaFrame): Buffer
  disposition(fields: object): unknown
}

/**
 * Settles one delivery with a frame of its own. rhea gathers the dispositions of a turn and merges the first two
 * neighbours whatever their outcomes are (write_dispositions in its session.js), so only equal ones may go that way.
 */
export const settleAlone = (
  delivery: RheaDelivery,
  session: RheaSession,
  role: 'sender' | 'receiver',
  state: unknown,
): void => {
  const fields = { role: role === 'receiver', first: delivery.id, last: delivery.id, settled: true, state }
  delivery.settled = true
  session.output(frames.disposition(fields))
  session.connection._register()
}

export const rejectedState = (condition: string, description: string): unknown =>
  outcomes.rejected({ error: { condition, description } }).described()

type Wrappers = Record<
  | 'wrap_int'
  | 'wrap_long'
  | 'wrap_timestamp'
  | 'wrap_uuid'
  | 'wrap_symbol'
  | 'wrap_ulong'
  | 'wrap_string'
  | 'wrap_list'
  | 'wrap_map'
  | 'wrap_boolean'
  | 'wrap_short'
  | 'wrap',
  (value: unknown) => TypedValue
> & {
  wrap_array(values: unknown[], code: number, descriptor?: unknown): TypedValue
  wrap_described(value: unknown, descriptor: number): TypedValue
  Reader: { prototype: ReaderInternals }
  Writer: new () => { write(value: TypedValue): void; toBuffer(): Buffer }
}

type ReaderInternals = {
  remaining(): number
  read_n: (this: ReaderInternals, count: number) => unknown[]
  read_array_items: (this: ReaderInternals, count: number, type: unknown) => unknown[]
}

export const amqpTypes = rhea.types as unknown as Wrappers

/** The encoding of a value that rhea decoded with its type, unchanged. */
export const encodeTyped = (value: TypedValue): Buffer => {
  const writer = new amqpTypes.Writer()
  writer.write(value)
  return Buffer.from(writer.toBuffer())
}

const countLimit = 4096
const guarded = Symbol.for('sluice.rhea-reader-guarded')

/**
 * Bounds what a hostile count makes rhea's reader allocate: every element but those of zero width takes a byte, so a count
 * beyond the bytes that are left is a lie. Applies to the process's rhea; legal data reads as before.
 */
export const guardReader = (): void => {
  const reader = amqpTypes.Reader.prototype as ReaderInternals & { [guarded]?: true }
  if (reader[guarded]) return
  reader[guarded] = true
  const original = { n: reader.read_n, items: reader.read_array_items }
  const check = (count: number, remaining: number): void => {
    if (count > Math.max(remaining, countLimit)) throw new RangeError(`count ${count} exceeds the data`)
  }
  reader.read_n = function (count) {
    check(count, this.remaining())
    return original.n.call(this, count)
  }
  reader.read_array_items = function (count, type) {
    check(count, this.remaining())
    return original.items.call(this, count, type)
  }
}
