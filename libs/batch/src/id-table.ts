import { hash } from 'node:crypto'

/**
 * The first line of each custom id, for files of millions of lines: twelve bytes an id instead of a string. Ids count as
 * equal when 64 bits of their SHA-1 are; among ten million ids that happens by chance once in 370,000 files.
 */
export class IdTable {
  #keys = new BigUint64Array(1024)
  #lines = new Uint32Array(1024)
  #size = 0

  /** Remembers an id. @returns the line, from 1, that had it before */
  add(id: string, line: number): number | undefined {
    if (this.#size * 10 >= this.#keys.length * 7) this.#grow()
    const key = hash('sha1', id, 'buffer').readBigUInt64LE()
    const at = this.#slot(this.#keys, this.#lines, key)
    const before = this.#lines[at] ?? 0
    if (before !== 0) return before
    this.#keys[at] = key
    this.#lines[at] = line
    this.#size++
    return undefined
  }

  #slot(keys: BigUint64Array, lines: Uint32Array, key: bigint): number {
    const mask = keys.length - 1
    let at = Number(key & BigInt(mask))
    while (lines[at] !== 0 && keys[at] !== key) at = (at + 1) & mask
    return at
  }

  #grow(): void {
    const keys = new BigUint64Array(this.#keys.length * 2)
    const lines = new Uint32Array(keys.length)
    for (let from = 0; from < this.#keys.length; from++) {
      if (this.#lines[from] === 0) continue
      const at = this.#slot(keys, lines, this.#keys[from] as bigint)
      keys[at] = this.#keys[from] as bigint
      lines[at] = this.#lines[from] as number
    }
    this.#keys = keys
    this.#lines = lines
  }
}
