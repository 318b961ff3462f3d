const mask = 0xffff_ffff_ffff_ffffn
const c1 = 0x87c3_7b91_1142_53d5n
const c2 = 0x4cf5_ad43_2745_937fn

const rotate = (x: bigint, by: bigint): bigint => ((x << by) | (x >> (64n - by))) & mask

const mixLow = (k: bigint): bigint => (rotate((k * c1) & mask, 31n) * c2) & mask
const mixHigh = (k: bigint): bigint => (rotate((k * c2) & mask, 33n) * c1) & mask

const finish = (x: bigint): bigint => {
  let h = x ^ (x >> 33n)
  h = (h * 0xff51_afd7_ed55_8ccdn) & mask
  h ^= h >> 33n
  h = (h * 0xc4ce_b9fe_1a85_ec53n) & mask
  return h ^ (h >> 33n)
}

/** Little-endian integer of up to eight bytes. */
const read = (bytes: Uint8Array, from: number, to: number): bigint => {
  let value = 0n
  for (let i = Math.min(to, bytes.length) - 1; i >= from; i -= 1) value = (value << 8n) | BigInt(bytes[i] ?? 0)
  return value
}

/** MurmurHash3 x64 128 with seed 0 (Austin Appleby's public-domain algorithm); yields its two 64-bit halves. */
export const murmurHash128 = (bytes: Uint8Array): [low: bigint, high: bigint] => {
  let h1 = 0n
  let h2 = 0n
  const whole = bytes.length - (bytes.length % 16)
  for (let at = 0; at < whole; at += 16) {
    h1 = (rotate(h1 ^ mixLow(read(bytes, at, at + 8)), 27n) + h2) & mask
    h1 = (h1 * 5n + 0x52dc_e729n) & mask
    h2 = (rotate(h2 ^ mixHigh(read(bytes, at + 8, at + 16)), 31n) + h1) & mask
    h2 = (h2 * 5n + 0x3849_5ab5n) & mask
  }
  h1 ^= mixLow(read(bytes, whole, whole + 8))
  h2 ^= mixHigh(read(bytes, whole + 8, whole + 16))
  h1 ^= BigInt(bytes.length)
  h2 ^= BigInt(bytes.length)
  h1 = (h1 + h2) & mask
  h2 = (h2 + h1) & mask
  h1 = finish(h1)
  h2 = finish(h2)
  h1 = (h1 + h2) & mask
  h2 = (h2 + h1) & mask
  return [h1, h2]
}
