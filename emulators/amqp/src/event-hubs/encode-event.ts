import { encodeDescribed, encodeMap, encodeScalar, encodeString, encodeSymbol } from '../amqp/encode.ts'
import type { StoredEvent } from '../store/journal.ts'

const keys = {
  sequenceNumber: encodeSymbol('x-opt-sequence-number'),
  offset: encodeSymbol('x-opt-offset'),
  enqueuedTime: encodeSymbol('x-opt-enqueued-time'),
}
const metricKeys = {
  sequenceNumber: encodeSymbol('last_enqueued_sequence_number'),
  offset: encodeSymbol('last_enqueued_offset'),
  enqueuedTime: encodeSymbol('last_enqueued_time_utc'),
  retrievalTime: encodeSymbol('runtime_info_retrieval_time_utc'),
}
const fixedBytes = 160

/** An event as it goes over the wire: annotations of the sender and the broker, and the bare message untouched. */
export const encodeEvent = (event: StoredEvent): Buffer => {
  const offset = String(event.offset)
  const out = Buffer.allocUnsafe(fixedBytes + event.annotations.length + event.bare.length)
  out[0] = 0x00
  out[1] = 0x53
  out[2] = 0x72
  out[3] = 0xd1
  let at = 12 + event.annotations.copy(out, 12)
  at = writeLong(out, at, keys.sequenceNumber, 0x81, event.sequenceNumber)
  at += keys.offset.copy(out, at)
  out[at++] = 0xa1
  out[at++] = offset.length
  at += out.write(offset, at, 'latin1')
  at = writeLong(out, at, keys.enqueuedTime, 0x83, event.enqueuedAtMs)
  out.writeUInt32BE(at - 8, 4)
  out.writeUInt32BE((event.annotationCount + 3) * 2, 8)
  at += out.write(event.bare, at, 'latin1')
  return out.subarray(0, at)
}

const writeLong = (out: Buffer, at: number, key: Buffer, code: number, value: number): number => {
  const valueAt = at + key.copy(out, at)
  out[valueAt] = code
  out.writeInt32BE(Math.floor(value / 0x100000000), valueAt + 1)
  out.writeUInt32BE(value % 0x100000000, valueAt + 5)
  return valueAt + 9
}

/** What consumers that track the partition's end are told with each event: the newest event, as of `now`. */
export const encodeRuntimeMetrics = (last: StoredEvent, now: number): Buffer =>
  encodeDescribed(
    0x71,
    encodeMap([
      metricKeys.sequenceNumber,
      encodeScalar(BigInt(last.sequenceNumber)),
      metricKeys.offset,
      encodeString(String(last.offset)),
      metricKeys.enqueuedTime,
      encodeScalar(new Date(last.enqueuedAtMs)),
      metricKeys.retrievalTime,
      encodeScalar(new Date(now)),
    ]),
  )
