import { createRequire } from 'node:module'
import { describe, expect, test } from 'vitest'
import { encodeFrames, longestTag } from './frame-output.ts'
import { frames } from './rhea-internals.ts'

const { read_frame: readFrame } = createRequire(import.meta.url)('rhea/lib/frames.js') as {
  read_frame: (bytes: Buffer) => {
    size: number
    channel: number
    performative: Record<string, unknown>
    payload?: Buffer
  }
}

const transfer = (changes: object) => ({
  transfer: {
    channel: 3,
    handle: 0,
    deliveryId: 0,
    tag: Buffer.from('tag'),
    settled: false,
    payload: Buffer.from('message'),
    ...changes,
  },
})

describe('frames of one turn', () => {
  test.each([
    {},
    { handle: 255, deliveryId: 256 },
    { handle: 256, deliveryId: 2 ** 32 - 1, settled: true },
    { tag: Buffer.alloc(longestTag, 7), payload: Buffer.alloc(70_000, 1) },
    { tag: Buffer.alloc(0), payload: Buffer.alloc(0) },
  ])('a transfer %j is what rhea would read from its own', (changes) => {
    const given = transfer(changes)
    const { channel, payload, handle, deliveryId, tag, settled } = given.transfer
    const read = readFrame(encodeFrames([given]))
    expect(read).toMatchObject({ channel, size: encodeFrames([given]).length })
    expect(read.payload ?? Buffer.alloc(0)).toEqual(payload)
    const { performative } = read
    expect(performative).toMatchObject({ handle, delivery_id: deliveryId, settled, message_format: 0, more: false })
    expect(performative['delivery_tag']).toEqual(tag)
  })

  test('frames follow one another in order, those of rhea among them', () => {
    const fields = { role: true, first: 4, last: 9, settled: true }
    const end = frames.amqp_frame(3, frames.disposition(fields), undefined)
    const bytes = encodeFrames([transfer({ deliveryId: 1 }), end, transfer({ deliveryId: 2 })])
    const read: Record<string, unknown>[] = []
    for (let at = 0; at < bytes.length; at += bytes.readUInt32BE(at))
      read.push(readFrame(bytes.subarray(at, at + bytes.readUInt32BE(at))).performative)
    expect(read).toMatchObject([{ delivery_id: 1 }, fields, { delivery_id: 2 }])
  })
})
