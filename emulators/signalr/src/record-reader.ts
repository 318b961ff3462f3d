import type { ProtocolName } from './hub-message.ts'

const separator = 0x1e

/**
 * Cuts a client's bytes into whole records: text ends in a record separator (the handshake and JSON), MessagePack starts with
 * its length as a variable-length integer. A record may arrive in pieces and many may arrive at once.
 */
export function createRecordReader(maxBytes: number) {
  let pending: Buffer = Buffer.alloc(0)

  const takeText = (): Buffer | undefined => {
    const end = pending.indexOf(separator)
    return end === -1 ? undefined : take(end + 1)
  }

  const takeBinary = (): Buffer | undefined => {
    let size = 0
    for (let index = 0; index < 5 && index < pending.length; index++) {
      const byte = pending[index] as number
      size += (byte & 0x7f) * 2 ** (7 * index)
      if (byte < 0x80) {
        if (size > maxBytes) throw new Error('The message is too large.')
        return pending.length < index + 1 + size ? undefined : take(index + 1 + size)
      }
    }
    if (pending.length >= 5) throw new Error('The length of a message is malformed.')
    return undefined
  }

  const take = (length: number): Buffer => {
    const record = pending.subarray(0, length)
    pending = pending.subarray(length)
    return record
  }

  return {
    /** Throws when the bytes of one record pass the limit. */
    push(bytes: Buffer): void {
      pending = pending.length === 0 ? bytes : Buffer.concat([pending, bytes])
      // A prefix and a separator may come on top of a message of the full size.
      if (pending.length > 2 * maxBytes + 16) throw new Error('The message is too large.')
    },
    /** The next whole record, its separator or length included. Throws on a malformed length. */
    next(protocol: ProtocolName): Buffer | undefined {
      const record = protocol === 'json' ? takeText() : takeBinary()
      if (record === undefined && pending.length > maxBytes + 16) throw new Error('The message is too large.')
      return record
    },
  }
}
