import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

type Collect = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void

const worthwhileBytes = 64 * 1024 * 1024
const delayMs = 1000
// Held in memory besides the journal; more would only save reads by primary key, which are cheap beside a delivery.
const defaultPlentyBytes = 64 * 1024 * 1024

/**
 * Counts the bytes of waiting messages: tells when memory holds plenty of them, and gives memory back to the operating system after a large queue has been drained. V8 collects when it allocates, which a
 * drained broker hardly does, and keeps the emptied pages pooled; only a last-resort collection returns them. It runs when
 * little is left to look through, so that its pause is short.
 */
export class MemoryRelease {
  readonly #plentyBytes: number
  #kept = 0
  #resident = 0
  #freed = 0
  #timer: NodeJS.Timeout | undefined
  #collect: Collect | undefined

  constructor(plentyBytes = defaultPlentyBytes) {
    this.#plentyBytes = plentyBytes
  }

  /** Whether bytes that can be read from a journal should be left to it. */
  get isFull(): boolean {
    return this.#resident >= this.#plentyBytes
  }

  /** Notes a message's bytes; `resident` tells whether they are in memory or left to the journal. */
  keep(bytes: number, resident: boolean): void {
    this.#kept += bytes
    if (resident) this.#resident += bytes
  }

  /** Notes that a message is gone. */
  free(bytes: number, resident: boolean): void {
    this.#kept -= bytes
    if (resident) this.#resident -= bytes
    this.#freed += bytes
    if (this.#freed < worthwhileBytes || this.#kept > this.#freed / 16 || this.#timer !== undefined) return
    this.#timer = setTimeout(() => this.#release(), delayMs)
    this.#timer.unref()
  }

  /** Notes that every message is gone. */
  freeAll(): void {
    this.#resident = 0
    this.free(this.#kept, false)
  }

  close(): void {
    clearTimeout(this.#timer)
  }

  #release(): void {
    this.#timer = undefined
    this.#freed = 0
    this.#collect ??= exposedCollector()
    this.#collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  }
}

const exposedCollector = (): Collect => {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as Collect
}
