import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const flushBytes = 1024 * 1024

interface Place {
  index: number
  at: number
  bytes: number
}

/**
 * Sorts the results of one part, which come in any order, without holding them: texts go to a scratch file, and their
 * places are kept. A result whose line has one already is dropped.
 */
export class ResultSpool {
  readonly #file = openScratch()
  readonly #places = new Map<number, Place>()
  #pending: Buffer[] = []
  #held = 0
  #end = 0

  /** @returns false when the line has a result already */
  add(index: number, text: string): boolean {
    if (this.#places.has(index)) return false
    const bytes = Buffer.from(text)
    this.#places.set(index, { index, at: this.#end, bytes: bytes.length })
    this.#end += bytes.length
    this.#pending.push(bytes)
    this.#held += bytes.length
    if (this.#held >= flushBytes) this.#flush()
    return true
  }

  has(index: number): boolean {
    return this.#places.has(index)
  }

  get size(): number {
    return this.#places.size
  }

  /** The results in the order of their lines. */
  *sorted(): Generator<{ index: number; text: string }> {
    this.#flush()
    let buffer = Buffer.alloc(64 * 1024)
    for (const { index, at, bytes } of [...this.#places.values()].sort((a, b) => a.index - b.index)) {
      if (bytes > buffer.length) buffer = Buffer.alloc(bytes * 2)
      readSync(this.#file, buffer, 0, bytes, at)
      yield { index, text: buffer.toString('utf8', 0, bytes) }
    }
  }

  close(): void {
    closeSync(this.#file)
  }

  #flush(): void {
    if (this.#held === 0) return
    const block = Buffer.concat(this.#pending)
    for (let done = 0; done < block.length;) done += writeSync(this.#file, block, done)
    this.#pending = []
    this.#held = 0
  }
}

/** A file without a name, readable through its descriptor alone: a worker that is killed leaves no answers behind. */
function openScratch(): number {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-batch-'))
  try {
    return openSync(join(folder, 'results'), 'w+', 0o600)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
