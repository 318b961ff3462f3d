/** A vector of length one, so that a dot product is the cosine of the angle. */
export function unitVector(values: ArrayLike<number>): Float32Array | undefined {
  let sum = 0
  for (let at = 0; at < values.length; at++) sum += (values[at] ?? 0) ** 2
  const length = Math.sqrt(sum)
  if (!Number.isFinite(length) || length === 0) return undefined
  return Float32Array.from(values, (value) => value / length)
}

/** @returns the cosine of two unit vectors; 0 for vectors of different models, which cannot be compared. */
export function cosine(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return 0
  let sum = 0
  for (let at = 0; at < a.length; at++) sum += (a[at] ?? 0) * (b[at] ?? 0)
  return sum
}

export const packVector = (vector: Float32Array): string =>
  Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64')

export function unpackVector(text: string): Float32Array {
  const bytes = Buffer.from(text, 'base64')
  // A copy: a pooled Buffer may start at an odd offset, which a Float32Array cannot.
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + (bytes.byteLength & ~3)))
}
