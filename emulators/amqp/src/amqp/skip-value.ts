import { AmqpDecodeError } from './decode-error.ts'

// Bytes after the type code for the fixed-width categories 0x4_ to 0x9_ (AMQP 1.0 part 1, 1.6).
const fixedWidths = [0, 1, 2, 4, 8, 16]
const maxDescriptors = 8

/**
 * The offset just behind the AMQP value that starts at `at`, without decoding it.
 * @throws AmqpDecodeError when the value does not end inside the buffer
 */
export const skipValue = (bytes: Buffer, at: number, descriptors = 0): number => {
  const code = bytes[at]
  if (code === undefined) throw new AmqpDecodeError('value starts behind the end of the data')
  if (code === 0x00) {
    if (descriptors >= maxDescriptors) throw new AmqpDecodeError('descriptors nested too deeply')
    return skipValue(bytes, skipValue(bytes, at + 1, descriptors + 1), descriptors + 1)
  }
  const category = code >>> 4
  let end: number
  if (category >= 0x4 && category <= 0x9) end = at + 1 + (fixedWidths[category - 4] ?? 0)
  else if (category === 0xa || category === 0xc || category === 0xe) end = at + 2 + (bytes[at + 1] ?? bytes.length)
  else if (category >= 0xb) end = at + 5 + readSize(bytes, at + 1)
  else throw new AmqpDecodeError(`unknown type code 0x${code.toString(16)}`)
  if (end > bytes.length) throw new AmqpDecodeError('value ends behind the end of the data')
  return end
}

const readSize = (bytes: Buffer, at: number): number => {
  if (at + 4 > bytes.length) throw new AmqpDecodeError('size ends behind the end of the data')
  return bytes.readUInt32BE(at)
}

export type CompoundHead = { count: number; first: number; end: number }

/**
 * Item count and bounds of the list or map at `at`.
 * @throws AmqpDecodeError when there is neither a list nor a map
 */
export const compoundHead = (bytes: Buffer, at: number): CompoundHead => {
  const code = bytes[at]
  const end = skipValue(bytes, at)
  if (code === 0x45) return { count: 0, first: end, end }
  const narrow = code === 0xc0 || code === 0xc1
  if (!narrow && code !== 0xd0 && code !== 0xd1) throw new AmqpDecodeError('expected a list or a map')
  const first = narrow ? at + 3 : at + 9
  if (first > end) throw new AmqpDecodeError('compound value too short for its count')
  const count = narrow ? (bytes[at + 2] ?? 0) : bytes.readUInt32BE(at + 5)
  if (count > end - first) throw new AmqpDecodeError('compound value too short for its count')
  return { count, first, end }
}

const maxDepth = 32

/**
 * Checks the value at `at` all the way down: what lies inside lists, maps and arrays must fill them exactly.
 * @returns the offset just behind it
 * @throws AmqpDecodeError when it does not, or is nested deeper than 32
 */
export const checkValue = (bytes: Buffer, at: number, depth = 0): number => {
  if (depth > maxDepth) throw new AmqpDecodeError('values nested too deeply')
  const end = skipValue(bytes, at)
  const code = bytes[at] ?? 0
  const category = code >>> 4
  if (code === 0x00) return checkValue(bytes, skipValue(bytes, at + 1), depth + 1)
  if (category === 0xe || category === 0xf) checkArray(bytes, at, end)
  if (category !== 0xc && category !== 0xd) return end
  const { count, first } = compoundHead(bytes, at)
  if ((code & 0x0f) === 1 && count % 2 !== 0) throw new AmqpDecodeError('map with a key but no value')
  let position = first
  for (let index = 0; index < count; index++) position = checkValue(bytes, position, depth + 1)
  if (position !== end) throw new AmqpDecodeError('compound value not filled by its items')
  return end
}

// Elements of fixed width fill an array exactly; others are only bounded, because brokers never look into them.
const checkArray = (bytes: Buffer, at: number, end: number): void => {
  const narrow = bytes[at] === 0xe0
  const constructorAt = narrow ? at + 3 : at + 9
  if (constructorAt >= end) throw new AmqpDecodeError('array without an element constructor')
  const count = narrow ? (bytes[at + 2] ?? 0) : bytes.readUInt32BE(at + 5)
  const codeAt = bytes[constructorAt] === 0x00 ? skipValue(bytes, constructorAt + 1) : constructorAt
  const category = (bytes[codeAt] ?? 0) >>> 4
  if (category < 0x4) throw new AmqpDecodeError('array with an unknown element type')
  const width = fixedWidths[category - 4]
  const bytesLeft = end - codeAt - 1
  if (width === undefined ? count > bytesLeft : count * width !== bytesLeft)
    throw new AmqpDecodeError('array not filled by its elements')
}
