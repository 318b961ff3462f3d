declare const packed: unique symbol

/**
 * Bytes kept as a string with one character a byte. A waiting message is kept like this because small buffers live in
 * malloc's arenas: with 200,000 of them the process stayed at 450 MB after the last was freed, while V8 gives the pages
 * of its own heap back. Packing and unpacking are plain copies.
 */
export type PackedBytes = string & { readonly [packed]: true }

/** Packs the bytes from an offset to the end. */
export const pack = (bytes: Buffer, from = 0): PackedBytes => bytes.toString('latin1', from) as PackedBytes

export const unpack = (bytes: PackedBytes): Buffer => Buffer.from(bytes, 'latin1')

const borrowed = Buffer.allocUnsafeSlow(64 * 1024)

/**
 * The bytes in memory that the next call uses again, for reading them at once. A buffer of its own for every look at a message
 * is memory outside the heap, and enough of that makes V8 collect all of it.
 */
export const borrow = (bytes: PackedBytes): Buffer =>
  bytes.length > borrowed.length ? unpack(bytes) : borrowed.subarray(0, borrowed.write(bytes, 0, 'latin1'))
