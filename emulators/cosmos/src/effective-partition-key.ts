import { murmurHash128 } from './murmur-hash.ts'
import type { PartitionKeyComponent } from './partition-key.ts'

const encoder = new TextEncoder()

// Type markers of the service's hash input, as its SDKs write them.
const encodeComponent = (value: PartitionKeyComponent): Uint8Array => {
  switch (typeof value) {
    case 'string':
      return Uint8Array.of(0x08, ...encoder.encode(value), 0xff)
    case 'number': {
      const bytes = new Uint8Array(9)
      bytes[0] = 0x05
      new DataView(bytes.buffer).setFloat64(1, value, true)
      return bytes
    }
    case 'boolean':
      return Uint8Array.of(value ? 0x03 : 0x02)
    default:
      return Uint8Array.of(value === null ? 0x01 : 0x00)
  }
}

/** 32 hexadecimal digits; the two top bits are cleared so that everything sorts before the end of the key space, FF. */
const hashComponent = (value: PartitionKeyComponent): string => {
  const [low, high] = murmurHash128(encodeComponent(value))
  const text = high.toString(16).padStart(16, '0') + low.toString(16).padStart(16, '0')
  const first = Number.parseInt(text.slice(0, 2), 16) & 0x3f
  return (first.toString(16).padStart(2, '0') + text.slice(2)).toUpperCase()
}

/** Where a hierarchical key lies in the key space '' … 'FF': clients address a prefix as the range [hash, hash + 'FF'). */
export const effectivePartitionKey = (components: readonly PartitionKeyComponent[]): string =>
  components.map(hashComponent).join('')
