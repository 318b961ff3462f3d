import { encodeSymbol } from '../amqp/encode.ts'
import type { PackedBytes } from '../amqp/packed-bytes.ts'
import type { BrokeredMessage } from './brokered-message.ts'

const keys = {
  sequenceNumber: encodeSymbol('x-opt-sequence-number'),
  enqueuedSequenceNumber: encodeSymbol('x-opt-enqueue-sequence-number'),
  enqueuedTime: encodeSymbol('x-opt-enqueued-time'),
  lockedUntil: encodeSymbol('x-opt-locked-until'),
  state: encodeSymbol('x-opt-message-state'),
  deadLetterSource: encodeSymbol('x-opt-deadletter-source'),
}
const stateCodes = { active: 0, deferred: 1, scheduled: 2 } as const
const fixedBytes = 256

/**
 * The message as it goes over the wire: a fresh header, the sender's annotations joined with the broker's, and the bare
 * message untouched.
 */
export const encodeDelivery = (message: BrokeredMessage, bare: PackedBytes): Buffer => {
  const source = message.deadLetterSource === undefined ? undefined : Buffer.from(message.deadLetterSource, 'utf8')
  const out = Buffer.allocUnsafe(fixedBytes + (source?.length ?? 0) + message.annotations.length + bare.length)
  let at = writeHeader(out, message)
  at = writeAnnotations(out, at, message, source)
  at += out.write(bare, at, 'latin1')
  return out.subarray(0, at)
}

const writeHeader = (out: Buffer, message: BrokeredMessage): number => {
  out[0] = 0x00
  out[1] = 0x53
  out[2] = 0x70
  out[3] = 0xc0
  out[5] = 5
  let at = 6
  out[at++] = message.durable ? 0x41 : 0x42
  if (message.priority === 4) out[at++] = 0x40
  else {
    out[at++] = 0x50
    out[at++] = message.priority
  }
  if (message.ttlMs === undefined) out[at++] = 0x40
  else {
    out[at++] = 0x70
    at = out.writeUInt32BE(Math.min(message.ttlMs, 0xffffffff), at)
  }
  out[at++] = message.deliveryCount === 0 ? 0x41 : 0x42
  if (message.deliveryCount === 0) out[at++] = 0x43
  else {
    out[at++] = 0x70
    at = out.writeUInt32BE(message.deliveryCount, at)
  }
  out[4] = at - 5
  return at
}

const writeAnnotations = (out: Buffer, start: number, message: BrokeredMessage, source: Buffer | undefined): number => {
  out[start] = 0x00
  out[start + 1] = 0x53
  out[start + 2] = 0x72
  out[start + 3] = 0xd1
  let at = start + 12
  let entries = 3 + message.annotationCount
  at += message.annotations.copy(out, at)
  at = writeLong(out, at, keys.sequenceNumber, 0x81, message.sequenceNumber)
  at = writeLong(out, at, keys.enqueuedSequenceNumber, 0x81, message.enqueuedSequenceNumber)
  at = writeLong(out, at, keys.enqueuedTime, 0x83, message.enqueuedAtMs)
  if (message.lock !== undefined) {
    at = writeLong(out, at, keys.lockedUntil, 0x83, message.lock.lockedUntilMs)
    entries++
  }
  if (message.state !== 'active') {
    at += keys.state.copy(out, at)
    out[at++] = 0x54
    out[at++] = stateCodes[message.state]
    entries++
  }
  if (source !== undefined) {
    at += keys.deadLetterSource.copy(out, at)
    out[at++] = 0xb1
    at = out.writeUInt32BE(source.length, at)
    at += source.copy(out, at)
    entries++
  }
  out.writeUInt32BE(at - start - 8, start + 4)
  out.writeUInt32BE(entries * 2, start + 8)
  return at
}

const writeLong = (out: Buffer, at: number, key: Buffer, code: number, value: number): number => {
  const valueAt = at + key.copy(out, at)
  out[valueAt] = code
  out.writeInt32BE(Math.floor(value / 0x100000000), valueAt + 1)
  out.writeUInt32BE(value % 0x100000000, valueAt + 5)
  return valueAt + 9
}
