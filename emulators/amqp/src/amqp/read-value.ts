import { AmqpDecodeError } from './decode-error.ts'
import { compoundHead, skipValue } from './skip-value.ts'

/** What an AMQP value becomes in JavaScript. Longs beyond 2^53 become bigint, uuids their text form, described values the value alone. */
export type AmqpValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Date
  | Buffer
  | AmqpValue[]
  | { [key: string]: AmqpValue }

const maxDepth = 32

/**
 * Decodes the value at `at`.
 * @throws AmqpDecodeError on malformed bytes or nesting deeper than 32
 */
export const readValue = (bytes: Buffer, at: number, depth = 0): AmqpValue => {
  const end = skipValue(bytes, at)
  const code = bytes[at] ?? 0
  if (depth > maxDepth) throw new AmqpDecodeError('values nested too deeply')
  if (code === 0x00) return readValue(bytes, skipValue(bytes, at + 1), depth + 1)
  const scalar = scalars[code]
  if (scalar !== undefined) return scalar(bytes, at + 1, end)
  if (code === 0xc1 || code === 0xd1) return readMap(bytes, at, depth)
  if (code === 0x45 || code === 0xc0 || code === 0xd0) return readList(bytes, at, depth)
  if (code === 0xe0 || code === 0xf0) return readArray(bytes, at, end, depth)
  throw new AmqpDecodeError(`unsupported type code 0x${code.toString(16)}`)
}

const integer = (value: bigint): number | bigint =>
  value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value

/** The text form of the 16 bytes of a uuid in RFC 4122 order. */
const uuidText = (bytes: Buffer): string => bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')

/** The text form of a message or correlation id, which may be a string, ulong, uuid or binary. */
export const idText = (value: AmqpValue): string => {
  if (typeof value === 'string') return value
  if (Buffer.isBuffer(value)) return value.toString('hex')
  return typeof value === 'number' || typeof value === 'bigint' ? value.toString() : ''
}

type Scalar = (bytes: Buffer, at: number, end: number) => AmqpValue

const scalars: Record<number, Scalar> = {
  0x40: () => null,
  0x41: () => true,
  0x42: () => false,
  0x43: () => 0,
  0x44: () => 0,
  0x50: (bytes, at) => bytes.readUInt8(at),
  0x51: (bytes, at) => bytes.readInt8(at),
  0x52: (bytes, at) => bytes.readUInt8(at),
  0x53: (bytes, at) => bytes.readUInt8(at),
  0x54: (bytes, at) => bytes.readInt8(at),
  0x55: (bytes, at) => bytes.readInt8(at),
  0x56: (bytes, at) => bytes[at] === 1,
  0x60: (bytes, at) => bytes.readUInt16BE(at),
  0x61: (bytes, at) => bytes.readInt16BE(at),
  0x70: (bytes, at) => bytes.readUInt32BE(at),
  0x71: (bytes, at) => bytes.readInt32BE(at),
  0x72: (bytes, at) => bytes.readFloatBE(at),
  0x73: (bytes, at) => codePoint(bytes.readUInt32BE(at)),
  0x74: (bytes, at, end) => Buffer.from(bytes.subarray(at, end)),
  0x80: (bytes, at) => integer(bytes.readBigUInt64BE(at)),
  0x81: (bytes, at) => integer(bytes.readBigInt64BE(at)),
  0x82: (bytes, at) => bytes.readDoubleBE(at),
  0x83: (bytes, at) => new Date(Number(bytes.readBigInt64BE(at))),
  0x84: (bytes, at, end) => Buffer.from(bytes.subarray(at, end)),
  0x94: (bytes, at, end) => Buffer.from(bytes.subarray(at, end)),
  0x98: (bytes, at, end) => uuidText(bytes.subarray(at, end)),
  0xa0: (bytes, at, end) => Buffer.from(bytes.subarray(at + 1, end)),
  0xa1: (bytes, at, end) => bytes.toString('utf8', at + 1, end),
  0xa3: (bytes, at, end) => bytes.toString('latin1', at + 1, end),
  0xb0: (bytes, at, end) => Buffer.from(bytes.subarray(at + 4, end)),
  0xb1: (bytes, at, end) => bytes.toString('utf8', at + 4, end),
  0xb3: (bytes, at, end) => bytes.toString('latin1', at + 4, end),
}

const codePoint = (value: number): string => {
  if (value > 0x10ffff) throw new AmqpDecodeError('char outside Unicode')
  return String.fromCodePoint(value)
}

const readList = (bytes: Buffer, at: number, depth: number): AmqpValue[] => {
  const { count, first } = compoundHead(bytes, at)
  const items: AmqpValue[] = []
  for (let index = 0, position = first; index < count; index++) {
    items.push(readValue(bytes, position, depth + 1))
    position = skipValue(bytes, position)
  }
  return items
}

const readMap = (bytes: Buffer, at: number, depth: number): Record<string, AmqpValue> => {
  const entries: [string, AmqpValue][] = []
  for (const entry of mapEntries(bytes, at)) entries.push([entry.key, readValue(bytes, entry.value, depth + 1)])
  return Object.fromEntries(entries)
}

// An array's elements share one constructor; each is decoded behind a copy of it. Zero-width elements are refused
// beyond what a message could mean, because their count costs the sender nothing.
const readArray = (bytes: Buffer, at: number, end: number, depth: number): AmqpValue[] => {
  const narrow = bytes[at] === 0xe0
  const constructorAt = narrow ? at + 3 : at + 9
  if (constructorAt >= end) throw new AmqpDecodeError('array without an element constructor')
  const count = narrow ? (bytes[at + 2] ?? 0) : bytes.readUInt32BE(at + 5)
  if (count > end - at) throw new AmqpDecodeError('array too short for its count')
  const described = bytes[constructorAt] === 0x00
  const codeAt = described ? skipValue(bytes, constructorAt + 1) : constructorAt
  const items: AmqpValue[] = []
  const code = bytes.subarray(codeAt, codeAt + 1)
  for (let index = 0, position = codeAt + 1; index < count; index++) {
    const element = Buffer.concat([
      code,
      bytes.subarray(position, Math.min(end, position + elementLimit(bytes, codeAt, position))),
    ])
    items.push(readValue(element, 0, depth + 1))
    position += skipValue(element, 0) - 1
  }
  return items
}

const elementLimit = (bytes: Buffer, codeAt: number, position: number): number => {
  const category = (bytes[codeAt] ?? 0) >>> 4
  if (category <= 0x9) return 16
  if (category % 2 === 0) return 1 + (bytes[position] ?? 0)
  return position + 4 <= bytes.length ? 4 + bytes.readUInt32BE(position) : 4
}

export type MapEntry = { key: string; keyAt: number; value: number; end: number }

/**
 * The entries of the map at `at` as offsets, so that values can be copied without losing their types.
 * @throws AmqpDecodeError when it is not a map, or its keys are not strings or symbols
 */
export const mapEntries = (bytes: Buffer, at: number): MapEntry[] => {
  const { count, first, end } = compoundHead(bytes, at)
  if (count % 2 !== 0) throw new AmqpDecodeError('map with a key but no value')
  const entries: MapEntry[] = []
  for (let index = 0, position = first; index < count; index += 2) {
    const key = readValue(bytes, position)
    if (typeof key !== 'string') throw new AmqpDecodeError('map key is neither string nor symbol')
    const value = skipValue(bytes, position)
    const next = skipValue(bytes, value)
    if (next > end) throw new AmqpDecodeError('map entry ends behind its map')
    entries.push({ key, keyAt: position, value, end: next })
    position = next
  }
  return entries
}
