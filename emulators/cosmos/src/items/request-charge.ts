/**
 * Request units, interpolated between the figures of Microsoft's documentation: a point read of 1 KB costs 1 and of 100 KB 10;
 * a write of 1 KB costs 5 and of 100 KB 50. A query costs 2.8 plus 0.05 a result and a tenth of a read for its bytes.
 */
const byKilobytes = (bytes: number, smallest: number): number =>
  smallest * (1 + (9 * Math.max(0, bytes / 1024 - 1)) / 99)

export const readCharge = (bytes: number): number => byKilobytes(bytes, 1)

export const writeCharge = (bytes: number): number => byKilobytes(bytes, 5)

export const queryCharge = (results: number, bytes: number): number =>
  2.8 + 0.05 * results + 0.1 * byKilobytes(bytes, 1)

/** Metadata requests and failures. */
export const flatCharge = 1
