// Bob Jenkins' lookup3 hash (public domain), which Event Hubs uses to place keys. Results for known keys are in the test.
const rotate = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits))

const word = (bytes: Buffer, at: number): number => {
  let value = 0
  for (let index = 3; index >= 0; index--) value = (value << 8) | (bytes[at + index] ?? 0)
  return value
}

const lookup3 = (bytes: Buffer): { b: number; c: number } => {
  let a = (0xdeadbeef + bytes.length) | 0
  let b = a
  let c = a
  let at = 0
  for (; bytes.length - at > 12; at += 12) {
    a = (a + word(bytes, at)) | 0
    b = (b + word(bytes, at + 4)) | 0
    c = (c + word(bytes, at + 8)) | 0
    ;[a, b, c] = mix(a, b, c)
  }
  if (bytes.length - at === 0) return { b, c }
  a = (a + word(bytes, at)) | 0
  b = (b + word(bytes, at + 4)) | 0
  c = (c + word(bytes, at + 8)) | 0
  return finish(a, b, c)
}

const mix = (a: number, b: number, c: number): [number, number, number] => {
  a = (a - c) ^ rotate(c, 4)
  c = (c + b) | 0
  b = (b - a) ^ rotate(a, 6)
  a = (a + c) | 0
  c = (c - b) ^ rotate(b, 8)
  b = (b + a) | 0
  a = (a - c) ^ rotate(c, 16)
  c = (c + b) | 0
  b = (b - a) ^ rotate(a, 19)
  a = (a + c) | 0
  c = (c - b) ^ rotate(b, 4)
  b = (b + a) | 0
  return [a, b, c]
}

const finish = (a: number, b: number, c: number): { b: number; c: number } => {
  c = ((c ^ b) - rotate(b, 14)) | 0
  a = ((a ^ c) - rotate(c, 11)) | 0
  b = ((b ^ a) - rotate(a, 25)) | 0
  c = ((c ^ b) - rotate(b, 16)) | 0
  a = ((a ^ c) - rotate(c, 4)) | 0
  b = ((b ^ a) - rotate(a, 14)) | 0
  c = ((c ^ b) - rotate(b, 24)) | 0
  return { b, c }
}

/** The index of the partition that events with this key go to, as the service computes it. */
export const partitionOfKey = (partitionKey: string, partitionCount: number): number => {
  const { b, c } = lookup3(Buffer.from(partitionKey, 'utf8'))
  const hash = ((c ^ b) << 16) >> 16
  return Math.abs(hash % partitionCount)
}
