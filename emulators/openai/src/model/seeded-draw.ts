/** MurmurHash3's finalizer: every input bit reaches every output bit. */
function scatter(word: number): number {
  let bits = word
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return (bits ^ (bits >>> 16)) >>> 0
}

/**
 * A 53-bit hash of a text: two FNV-1a lanes over its code units, scattered into each other. Stable across processes
 * and versions, so that a seed reproduces a run. Not cryptographic.
 */
export function hashText(text: string, seed = 0): number {
  let left = (0x811c9dc5 ^ seed) | 0
  let right = (0x9747b28c + seed) | 0
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    left = Math.imul(left ^ unit, 0x01000193)
    right = Math.imul(right ^ (unit + i), 0x5bd1e995)
  }
  const low = scatter(left ^ (right >>> 7))
  return (scatter(right + low) & 0x1fffff) * 4294967296 + low
}

/** A stream of uniform draws (a scattered Weyl sequence) that depends on nothing but its seed. */
export class Draws {
  #state: number

  constructor(seed: number) {
    // Both halves of a 53-bit hash count, or prompts that differ only in the upper half would answer alike.
    this.#state = scatter(seed | 0) ^ scatter(Math.floor(seed / 4294967296) | 0)
  }

  /** Uniform in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0
    return scatter(this.#state) / 4294967296
  }

  /** An integer in [low, high]. */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1))
  }

  pick<T>(items: readonly [T, ...T[]]): T {
    return items[Math.floor(this.next() * items.length)] ?? items[0]
  }
}
