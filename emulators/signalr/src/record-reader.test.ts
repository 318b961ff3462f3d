import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { createRecordReader } from './record-reader.ts'

const limit = 1024

/** Feeds the bytes cut at the given places and collects every record. */
function readAll(protocol: 'json' | 'messagepack', bytes: Buffer, cuts: number[]): Buffer[] {
  const reader = createRecordReader(limit)
  const records: Buffer[] = []
  const places = [...cuts.map((cut) => cut % (bytes.length + 1)), 0, bytes.length].sort((a, b) => a - b)
  for (let index = 1; index < places.length; index++) {
    reader.push(bytes.subarray(places[index - 1], places[index]))
    for (let record = reader.next(protocol); record; record = reader.next(protocol)) records.push(record)
  }
  return records
}

const varint = (length: number): Buffer =>
  length < 0x80 ? Buffer.of(length) : Buffer.of((length & 0x7f) | 0x80, length >> 7)

describe('records', () => {
  it('come out of text whole, however the bytes were cut', () => {
    const text = fc.array(fc.string({ unit: 'grapheme', maxLength: 60 }).filter((line) => !line.includes('\u001e')))
    fc.assert(
      fc.property(text, fc.array(fc.nat(), { maxLength: 8 }), (lines, cuts) => {
        const records = readAll('json', Buffer.from(lines.map((line) => `${line}\u001e`).join('')), cuts)
        expect(records.map((record) => record.toString())).toEqual(lines.map((line) => `${line}\u001e`))
      }),
    )
  })

  it('come out of MessagePack whole, however the bytes were cut', () => {
    const payloads = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 10 })
    fc.assert(
      fc.property(payloads, fc.array(fc.nat(), { maxLength: 8 }), (parts, cuts) => {
        const framed = parts.map((part) => Buffer.concat([varint(part.length), part]))
        expect(readAll('messagepack', Buffer.concat(framed), cuts)).toEqual(framed)
      }),
    )
  })

  it('are refused past the limit, whether they announce it or not', () => {
    expect(() => readAll('json', Buffer.alloc(limit + 17, 0x20), [])).toThrow('too large')
    expect(() => readAll('json', Buffer.alloc(2 * limit + 17, 0x1e), [])).toThrow('too large')
    expect(() => readAll('messagepack', varint(limit + 1), [])).toThrow('too large')
    expect(() => readAll('messagepack', Buffer.alloc(5, 0xff), [])).toThrow('malformed')
  })
})
