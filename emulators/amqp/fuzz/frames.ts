/** A source of numbers in [0, 1) that depends on nothing but its seed (mulberry32). */
export type Draw = () => number

export const seededDraw = (seed: number): Draw => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let value = Math.imul(state ^ (state >>> 15), state | 1)
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61)
    return ((value ^ (value >>> 14)) >>> 0) / 0x100000000
  }
}

const header = (protocol: number): Buffer => Buffer.from([0x41, 0x4d, 0x51, 0x50, protocol, 1, 0, 0])
const uint = (value: number): number[] => [
  0x70,
  (value >>> 24) & 255,
  (value >>> 16) & 255,
  (value >>> 8) & 255,
  value & 255,
]
const text = (value: string, code = 0xa1): number[] => [code, value.length, ...Buffer.from(value)]
const nil = [0x40]

const list = (items: number[][]): number[] => {
  const body = items.flat()
  return [0xd0, ...uint(body.length + 4).slice(1), ...uint(items.length).slice(1), ...body]
}
const map = (items: number[][]): number[] => [0xd1, ...list(items).slice(1)]
const described = (code: number, value: number[]): number[] => [0x00, 0x53, code, ...value]

const frame = (code: number, items: number[][], payload: number[] = [], type = 0): Buffer => {
  const body = [...described(code, list(items)), ...payload]
  return Buffer.from([...uint(body.length + 8).slice(1), 2, type, 0, 0, ...body])
}

const [yes, no] = [[0x41], [0x42]]
const terminus = (code: number, address: string, filter: number[] = nil): number[] =>
  described(code, list([text(address), nil, nil, nil, nil, nil, nil, filter]))
const attach = (name: string, handle: number, receives: boolean, address: string, filter?: number[]): Buffer =>
  frame(0x12, [
    text(name),
    uint(handle),
    receives ? yes : no,
    nil,
    nil,
    terminus(0x28, receives ? address : 'client', filter),
    terminus(0x29, receives ? 'client' : address),
    nil,
    nil,
    uint(0),
  ])
const message = [
  ...described(0x70, list([yes, [0x50, 4], uint(60_000)])),
  ...described(0x72, map([text('x-opt-partition-key', 0xa3), text('key')])),
  ...described(0x73, list([text('id'), nil, text('to'), text('subject')])),
  ...described(0x74, map([text('n'), [0x55, 7]])),
  ...described(0x75, [0xa0, 3, 1, 2, 3]),
]
const transfer = (handle: number, id: number, payload: number[], format = 0): Buffer =>
  frame(0x14, [uint(handle), uint(id), [0xa0, 1, id & 255], uint(format), no, no], payload)

/** What an honest client sends: the opening, without which the broker would look at nothing, and frames of every kind. */
export const validFrames = (): { preamble: Buffer; frames: Buffer[] } => ({
  preamble: Buffer.concat([
    header(0),
    frame(0x10, [text('fuzzer'), text('localhost'), uint(65_536)]),
    frame(0x11, [nil, uint(0), uint(2048), uint(2048)]),
    attach('in', 0, false, 'requests-bulk'),
    attach('out', 1, true, 'requests-bulk'),
    attach('management-in', 2, false, 'requests-bulk/$management'),
    attach('management-out', 3, true, 'requests-bulk/$management'),
  ]),
  frames: [
    transfer(0, 0, message),
    transfer(0, 1, described(0x75, [0xa0, message.length, ...message.slice(0, 255)]), 0x80013700),
    transfer(2, 2, [
      ...described(0x73, list([text('r'), nil, nil, nil, text('management-out')])),
      ...described(0x74, map([text('operation'), text('com.microsoft:peek-message')])),
      ...described(0x77, map([text('message-count'), [0x54, 5], text('from-sequence-number'), [0x55, 1]])),
    ]),
    frame(0x13, [uint(0), uint(2048), uint(0), uint(2048), uint(1), uint(0), uint(10), nil, no, yes]),
    frame(0x13, [uint(0), uint(2048), uint(0), uint(2048), uint(1), uint(0), uint(0xffffffff), nil, yes]),
    frame(0x15, [yes, uint(0), uint(0xffffffff), yes, described(0x24, [0x45])]),
    frame(0x15, [yes, uint(0), uint(3), no, described(0x27, list([no, yes, map([text('k', 0xa3), [0x41]])]))]),
    attach('session', 4, true, 'conversations', map([text('com.microsoft:session-filter', 0xa3), nil])),
    attach('events', 5, true, 'results/ConsumerGroups/$Default/Partitions/0'),
    attach('cbs', 6, false, '$cbs'),
    frame(0x16, [uint(1), yes]),
    frame(0x11, [nil, uint(0), uint(2048), uint(2048)]),
    frame(0x17, [nil]),
    frame(0x18, [nil]),
    Buffer.from([0, 0, 0, 8, 2, 0, 0, 0]),
    frame(0x41, [text('ANONYMOUS', 0xa3)], [], 1),
  ],
})

const unchangedShare = 0.6
const hostileBytes = [0x00, 0x40, 0x45, 0xc0, 0xc1, 0xd0, 0xd1, 0xe0, 0xf0, 0x7f, 0x80, 0xff]

/** A frame as a broken or hostile client might send it; some stay as they are, so that deeper states are reached. */
export const mutate = (original: Buffer, draw: Draw): Buffer => {
  const frame = Buffer.from(original)
  const at = (from: number): number => from + Math.floor(draw() * Math.max(1, frame.length - from))
  if (draw() < unchangedShare) return frame
  const kind = 1 + Math.floor(draw() * 7)
  if (kind === 1) frame[at(0)] = Math.floor(draw() * 256)
  else if (kind === 2) return refit(frame.subarray(0, at(8)))
  else if (kind === 3) frame.writeUInt32BE(Math.floor(draw() * 0xffffffff), 0)
  else if (kind === 4)
    return refit(
      Buffer.concat([
        frame,
        Buffer.from(Array.from({ length: Math.floor(draw() * 64) }, () => Math.floor(draw() * 256))),
      ]),
    )
  else if (kind === 5)
    for (let times = 0; times < 4; times++) frame[at(8)] = hostileBytes[Math.floor(draw() * hostileBytes.length)] ?? 0
  else if (kind === 6 && frame.length > 16)
    frame.writeUInt32BE(Math.floor(draw() * 0xffffffff), at(8) - 4 > 8 ? Math.min(at(8), frame.length - 4) : 8)
  else frame[at(8)] = (frame[at(8)] ?? 0) ^ (1 << Math.floor(draw() * 8))
  return frame
}

const refit = (frame: Buffer): Buffer => {
  if (frame.length >= 4) frame.writeUInt32BE(frame.length, 0)
  return frame
}
