import type { Socket } from 'node:net'
import { frames, type OutgoingFrame, type RheaConnection } from './rhea-internals.ts'

/** A delivery that fits one frame. */
export type WholeTransfer = {
  channel: number
  handle: number
  deliveryId: number
  tag: Buffer
  settled: boolean
  payload: Buffer
}

/** The longest tag of a whole transfer: its performative is a list whose size is one byte. */
export const longestTag = 128

const frameHead = 8
const longestTransferHead = frameHead + 24 + longestTag
const empty = Buffer.alloc(0)
const scratchBytes = 512 * 1024
// One for all connections, because a write is done with it before the next one begins. A buffer for every turn is memory outside
// the heap, and enough of that makes V8 collect all of it.
let scratch: Buffer | undefined

/**
 * The frames that one connection sends. rhea writes each by itself: a buffer that it grows and copies, a call of the socket
 * and the heartbeat's timer set anew. Here those of one turn of the event loop become one buffer and one write, and transfers, most
 * of what a broker sends, are encoded without a value object for each of their fields.
 */
export class FrameOutput {
  readonly #connection: RheaConnection
  readonly #socket: Socket
  #isScheduled = false

  /** Takes over from rhea for this connection. */
  constructor(connection: RheaConnection, socket: Socket) {
    this.#connection = connection
    this.#socket = socket
    const transport = connection.amqp_transport
    const writeOneByOne = transport.write.bind(transport)
    transport.write = (target) => {
      // The protocol's header goes before the first frame.
      if (transport.header_sent === undefined) return writeOneByOne(target)
      const { pending } = transport
      if (pending.length === 0) return
      transport.pending = []
      target.write(encodeFrames(pending, (scratch ??= Buffer.allocUnsafeSlow(scratchBytes))))
      // What the kernel did not take at once is still to be read from there.
      if (target.writableLength > 0) scratch = undefined
    }
    connection._write_frame = (channel, performative, payload) => {
      transport.encode(frames.amqp_frame(channel, performative, payload))
      this.#schedule()
    }
  }

  send(transfer: WholeTransfer): void {
    this.#connection.amqp_transport.encode({ transfer })
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => this.flush())
  }

  /** Writes what waits; by itself that happens at the end of the turn. */
  flush(): void {
    this.#isScheduled = false
    // Writing sets timers, which nobody would clear again once the connection is gone.
    if (!this.#socket.destroyed) this.#connection.output()
  }
}

/** The frames one behind the other, in `reuse` when they fit. */
export const encodeFrames = (pending: OutgoingFrame[], reuse?: Buffer): Buffer => {
  const encoded = pending.map((frame) => ('transfer' in frame ? undefined : frames.write_frame(frame)))
  let size = 0
  for (const [index, frame] of pending.entries())
    size += 'transfer' in frame ? longestTransferHead + frame.transfer.payload.length : (encoded[index]?.length ?? 0)
  const out = reuse !== undefined && size <= reuse.length ? reuse : Buffer.allocUnsafe(size)
  let at = 0
  for (const [index, frame] of pending.entries())
    at = 'transfer' in frame ? writeTransfer(out, at, frame.transfer) : at + (encoded[index] ?? empty).copy(out, at)
  return out.subarray(0, at)
}

// Frame header, descriptor and list of AMQP 1.0 part 2, 2.3.1 and 2.7.5; the message format is 0 and nothing follows.
const writeTransfer = (out: Buffer, start: number, transfer: WholeTransfer): number => {
  const { channel, handle, deliveryId, tag, settled, payload } = transfer
  out[start + 4] = 2
  out[start + 5] = 0
  out.writeUInt16BE(channel, start + 6)
  const performative = start + frameHead
  out[performative] = 0x00
  out[performative + 1] = 0x53
  out[performative + 2] = 0x14
  out[performative + 3] = 0xc0
  out[performative + 5] = 6
  let at = writeUint(out, performative + 6, handle)
  at = writeUint(out, at, deliveryId)
  out[at++] = 0xa0
  out[at++] = tag.length
  at += tag.copy(out, at)
  out[at++] = 0x43
  out[at++] = settled ? 0x41 : 0x42
  out[at++] = 0x42
  out[performative + 4] = at - performative - 5
  at += payload.copy(out, at)
  out.writeUInt32BE(at - start, start)
  return at
}

const writeUint = (out: Buffer, at: number, value: number): number => {
  if (value === 0) {
    out[at] = 0x43
    return at + 1
  }
  if (value <= 255) {
    out[at] = 0x52
    out[at + 1] = value
    return at + 2
  }
  out[at] = 0x70
  return out.writeUInt32BE(value, at + 1)
}
