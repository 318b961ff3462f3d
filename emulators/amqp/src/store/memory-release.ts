import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

type Collect = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void

const worthwhileBytes = 64 * 1024 * 1024
const delayMs = 1000

/**
 * Gives memory back to the operating system after a large queue has been drained. V8 collects when it allocates, which a
 * drained broker hardly does, and keeps the emptied pages pooled; only a last-resort collection returns them. It runs when
 * little is left to look through, so that its pause is short.
 */
export class MemoryRelease {
  #kept = 0
  #freed = 0
  #timer: NodeJS.Timeout | undefined
  #collect: Collect | undefined

  keep(bytes: number): void {
    this.#kept += bytes
  }

  free(bytes: number): void {
    this.#kept -= bytes
    this.#freed += bytes
    if (this.#freed < worthwhileBytes || this.#kept > this.#freed / 16 || this.#timer !== undefined) return
    this.#timer = setTimeout(() => this.#release(), delayMs)
    this.#timer.unref()
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
