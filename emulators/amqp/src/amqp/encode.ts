/** Encodings of single values, complete with their type codes. */

export const encodeString = (text: string): Buffer => variable(0xa1, 0xb1, Buffer.from(text, 'utf8'))

export const encodeSymbol = (text: string): Buffer => variable(0xa3, 0xb3, Buffer.from(text, 'latin1'))

const variable = (narrow: number, wide: number, bytes: Buffer): Buffer => {
  if (bytes.length <= 255) return Buffer.concat([Buffer.from([narrow, bytes.length]), bytes])
  const head = Buffer.allocUnsafe(5)
  head[0] = wide
  head.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}

/** A list (0xd0) or map (0xd1) of already encoded items. */
const compound = (code: number, items: Buffer[]): Buffer => {
  const size = items.reduce((sum, item) => sum + item.length, 4)
  const head = Buffer.allocUnsafe(9)
  head[0] = code
  head.writeUInt32BE(size, 1)
  head.writeUInt32BE(items.length, 5)
  return Buffer.concat([head, ...items])
}

export const encodeList = (items: Buffer[]): Buffer => compound(0xd0, items)

/** A map from already encoded keys and values, alternating. */
export const encodeMap = (items: Buffer[]): Buffer => compound(0xd1, items)

/** A section or other described value whose descriptor is a ulong below 256. */
export const encodeDescribed = (descriptor: number, value: Buffer): Buffer =>
  Buffer.concat([Buffer.from([0x00, 0x53, descriptor]), value])

export const encodeNull = Buffer.from([0x40])

/** Encodes what a SQL action or a management request can assign: string, boolean, number, bigint, Date, bytes, null. */
export const encodeScalar = (value: unknown): Buffer => {
  if (value === null || value === undefined) return encodeNull
  if (typeof value === 'string') return encodeString(value)
  if (typeof value === 'boolean') return Buffer.from([value ? 0x41 : 0x42])
  if (value instanceof Date) return eightBytes(0x83, BigInt(value.getTime()))
  if (Buffer.isBuffer(value)) return variable(0xa0, 0xb0, value)
  if (typeof value === 'bigint') return eightBytes(0x81, BigInt.asIntN(64, value))
  if (typeof value === 'number') return encodeNumber(value)
  throw new TypeError('only scalars can be assigned to a property')
}

const encodeNumber = (value: number): Buffer => {
  if (Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31) {
    const bytes = Buffer.from([0x71, 0, 0, 0, 0])
    bytes.writeInt32BE(value, 1)
    return bytes
  }
  if (Number.isSafeInteger(value)) return eightBytes(0x81, BigInt(value))
  const bytes = Buffer.allocUnsafe(9)
  bytes[0] = 0x82
  bytes.writeDoubleBE(value, 1)
  return bytes
}

const eightBytes = (code: number, value: bigint): Buffer => {
  const bytes = Buffer.allocUnsafe(9)
  bytes[0] = code
  bytes.writeBigInt64BE(value, 1)
  return bytes
}
