/** Buckets of the hashed n-grams, a power of two. */
export const ngramBuckets = 1 << 14

/** Mixes two 32-bit hashes into one whose low bits are as good as its high ones. */
export function mixHashes(a: number, b: number): number {
  let hash = Math.imul(a ^ (b >>> 15) ^ (b << 7), 0x2c1b3c6d) ^ b
  hash = Math.imul(hash ^ (hash >>> 15), 0x297a2d39)
  return hash ^ (hash >>> 15)
}

/**
 * A set of buckets that is emptied in no time: a bucket is in it when it carries the current generation's number. Numbers
 * of a byte, so that between two prompts the set stays in the processor's nearest cache.
 */
export class BucketSet {
  readonly #seen = new Uint8Array(ngramBuckets)
  #generation = 0

  clear(): void {
    if (++this.#generation <= 0xff) return
    this.#seen.fill(0)
    this.#generation = 1
  }

  /** Adds the bucket of a hash, and returns it; -1 when it was there already. */
  add(hash: number): number {
    const bucket = hash & (ngramBuckets - 1)
    if (this.#seen[bucket] === this.#generation) return -1
    this.#seen[bucket] = this.#generation
    return bucket
  }
}
