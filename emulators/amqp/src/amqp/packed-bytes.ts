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
