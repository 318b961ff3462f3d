import type { RheaMessage } from './link-message.ts'

/** Thrown and caught here, so without a stack for each message. */
const leftToRhea = new Error('left to rhea')

const wide = 0x100000000
/** From here on a double cannot hold what the high word stands for, and rhea keeps the bytes. */
const tooHigh = 2097153

type Name = keyof RheaMessage

// https://docs.oasis-open.org/amqp/core/v1.0/os/amqp-core-messaging-v1.0-os.html#type-properties
const properties: readonly (Name | undefined)[] = [
  'message_id',
  undefined,
  undefined,
  'subject',
  'reply_to',
  'correlation_id',
  'content_type',
  undefined,
  undefined,
  undefined,
  'group_id',
  undefined,
  'reply_to_group_id',
]
const header: readonly (Name | undefined)[] = [undefined, undefined, undefined, undefined, 'delivery_count']

/**
 * Decodes an AMQP message as rhea does, without an object for every value on the way: much of what receiving costs.
 * @returns undefined for what SDKs do not send, such as a body that is no data section or nested values in a property:
 * rhea decodes that, and says what is wrong with it
 */
export function decodeMessage(bytes: Buffer): RheaMessage | undefined {
  try {
    return new Decoder(bytes).message()
  } catch {
    return undefined
  }
}

class Decoder {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  message(): RheaMessage {
    const message: RheaMessage = {}
    while (this.#at < this.#bytes.length) {
      switch (this.#section()) {
        case 0x70:
          this.#fields(message, header)
          break
        case 0x72:
          message.message_annotations = this.#map()
          break
        case 0x73:
          this.#fields(message, properties)
          break
        case 0x74:
          message.application_properties = this.#map()
          break
        case 0x75:
          // A second data section makes a list of the body.
          if (message.body !== undefined) throw leftToRhea
          message.body = this.#value()
          break
        case 0x71:
        case 0x78:
          this.#skipMap()
          break
        default:
          throw leftToRhea
      }
    }
    return message
  }

  /** The code of the next section, which stands before it as a small ulong. */
  #section(): number {
    if (this.#byte() !== 0 || this.#byte() !== 0x53) throw leftToRhea
    return this.#byte()
  }

  #fields(message: RheaMessage, names: readonly (Name | undefined)[]): void {
    const code = this.#byte()
    if (code === 0x45) return
    const count = this.#count(code, 0xc0, 0xd0)
    for (let index = 0; index < count; index++) {
      const value = this.#value()
      const name = names[index]
      if (name !== undefined && value !== null) (message as Record<string, unknown>)[name] = value
    }
  }

  #map(): Record<string, unknown> {
    const map: Record<string, unknown> = {}
    for (let left = this.#count(this.#byte(), 0xc1, 0xd1); left > 0; left -= 2) {
      const key = this.#value()
      if (typeof key !== 'string' || key === '__proto__') throw leftToRhea
      map[key] = this.#value()
    }
    return map
  }

  /** How many values a list or map has. @param short the code with lengths of one byte @param long of four */
  #count(code: number, short: number, long: number): number {
    const width = code === short ? 1 : 4
    if (width === 4 && code !== long) throw leftToRhea
    this.#at += width
    return width === 1 ? this.#byte() : this.#word()
  }

  #skipMap(): void {
    const code = this.#byte()
    if (code === 0xc1) this.#take(this.#byte())
    else if (code === 0xd1) this.#take(this.#word())
    else throw leftToRhea
  }

  #value(): unknown {
    const code = this.#byte()
    switch (code) {
      case 0x40:
        return null
      case 0x41:
        return true
      case 0x42:
        return false
      case 0x43:
      case 0x44:
        return 0
      case 0x50:
      case 0x52:
      case 0x53:
      case 0x56:
        return this.#byte()
      case 0x51:
      case 0x54:
      case 0x55:
        return (this.#byte() << 24) >> 24
      case 0x60:
        return this.#bytes.readUInt16BE(this.#take(2))
      case 0x61:
        return this.#bytes.readInt16BE(this.#take(2))
      case 0x70:
        return this.#word()
      case 0x71:
        return this.#bytes.readInt32BE(this.#take(4))
      case 0x72:
        return this.#bytes.readFloatBE(this.#take(4))
      case 0x82:
        return this.#bytes.readDoubleBE(this.#take(8))
      case 0x80:
      case 0x81:
        return this.#long(code === 0x81)
      case 0x83: {
        const ms = this.#long(true)
        if (typeof ms !== 'number') throw leftToRhea
        return new Date(ms)
      }
      case 0x98:
        return this.#slice(16)
      case 0xa0:
        return this.#slice(this.#byte())
      case 0xb0:
        return this.#slice(this.#word())
      case 0xa1:
        return this.#text(this.#byte(), 'utf8')
      case 0xb1:
        return this.#text(this.#word(), 'utf8')
      case 0xa3:
        return this.#text(this.#byte(), 'ascii')
      case 0xb3:
        return this.#text(this.#word(), 'ascii')
      default:
        throw leftToRhea
    }
  }

  #long(signed: boolean): number | Buffer {
    const at = this.#take(8)
    const high = signed ? this.#bytes.readInt32BE(at) : this.#bytes.readUInt32BE(at)
    if (high >= tooHigh || high <= -tooHigh) return this.#bytes.subarray(at, at + 8)
    return high * wide + this.#bytes.readUInt32BE(at + 4)
  }

  #byte(): number {
    return this.#bytes[this.#take(1)] ?? 0
  }

  #word(): number {
    return this.#bytes.readUInt32BE(this.#take(4))
  }

  #slice(length: number): Buffer {
    const at = this.#take(length)
    return this.#bytes.subarray(at, at + length)
  }

  #text(length: number, encoding: 'utf8' | 'ascii'): string {
    const at = this.#take(length)
    return this.#bytes.toString(encoding, at, at + length)
  }

  /** Where the next bytes begin. */
  #take(length: number): number {
    const at = this.#at
    this.#at += length
    if (this.#at > this.#bytes.length) throw leftToRhea
    return at
  }
}
