import type { Redis } from 'ioredis'

/** One write: its commands run in order, and what they cost in memory. */
export interface Write {
  commands: [name: string, ...args: (string | number)[]][]
  bytes: number
  /** Kept when the queue is full, because it occurs once a request and somebody waits for it. */
  urgent: boolean
}

export interface WriteQueueOptions {
  redis: Redis
  maxBytes: number
  onDropped: (count: number, error?: unknown) => void
  onWritten: () => void
}

const maxBatch = 512

/**
 * Writes in the background. One pipeline is under way at a time and everything that comes meanwhile goes with the next
 * one, so a slow Redis makes pipelines longer and never more numerous. What does not fit is dropped: whoever watches a
 * request finds its state in the ledger.
 */
export class WriteQueue {
  readonly #options: WriteQueueOptions
  #waiting: Write[] = []
  #bytes = 0
  #flushing: Promise<void> | undefined

  constructor(options: WriteQueueOptions) {
    this.#options = options
  }

  add(write: Write): void {
    const { maxBytes, onDropped } = this.#options
    // An urgent write is small: twice the bound is still a bound.
    if (this.#bytes + write.bytes > (write.urgent ? 2 * maxBytes : maxBytes)) return onDropped(1)
    this.#waiting.push(write)
    this.#bytes += write.bytes
    this.#flushing ??= this.#flush()
  }

  /** Resolves when everything added so far was written or dropped; each pipeline has the connection's own timeout. */
  async settled(): Promise<void> {
    await this.#flushing
  }

  async #flush(): Promise<void> {
    // What is published in the same turn of the event loop goes together.
    await new Promise<void>((resolve) => setImmediate(resolve))
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, maxBatch)
      try {
        const answers = await this.#options.redis.pipeline(batch.flatMap(({ commands }) => commands)).exec()
        const failed = answers?.find(([error]) => error !== null)
        if (failed === undefined) this.#options.onWritten()
        else this.#options.onDropped(batch.length, failed[0])
      } catch (error) {
        this.#options.onDropped(batch.length, error)
      }
      for (const { bytes } of batch) this.#bytes -= bytes
    }
    this.#flushing = undefined
  }
}
