import { AppError } from '@sluice/errors'
import type { RowStore } from '@sluice/storage'

interface Waiting<T> {
  row: T
  key: string[]
  json: string | undefined
  resolve: (created: boolean) => void
  reject: (error: unknown) => void
}

const maxBatch = 100
/** One, so that the batches are long: the SDK's price of a request is that of ten rows. */
const maxInFlight = 1

/**
 * Turns concurrent creates into bulk requests without delaying any: what comes within one turn of the event loop, or
 * while earlier batches are on their way, goes out together. A single row goes as a plain create.
 */
export class RowWriter<T extends { id: string }> {
  readonly #rows: RowStore<T>
  #waiting: Waiting<T>[] = []
  #inFlight = 0
  #scheduled = false

  constructor(rows: RowStore<T>) {
    this.#rows = rows
  }

  /**
   * @param json what `JSON.stringify(row)` amounts to, where it is at hand
   * @returns false when a row of that id is there already @throws AppError `storage_unavailable`
   */
  create(row: T, key: string[], json?: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ row, key, json, resolve, reject })
      if (this.#scheduled) return
      this.#scheduled = true
      setImmediate(() => {
        this.#scheduled = false
        this.#flush()
      })
    })
  }

  #flush(): void {
    while (this.#waiting.length > 0 && this.#inFlight < maxInFlight) {
      const batch = this.#waiting.splice(0, maxBatch)
      this.#inFlight++
      void this.#write(batch).finally(() => {
        this.#inFlight--
        this.#flush()
      })
    }
  }

  async #write(batch: Waiting<T>[]): Promise<void> {
    try {
      const [only] = batch
      if (batch.length === 1 && only !== undefined) return only.resolve(await this.#rows.create(only.row))
      const outcomes = await this.#rows.createAll(batch)
      for (const [index, { resolve, reject }] of batch.entries()) {
        const outcome = outcomes[index]
        if (outcome === 'created' || outcome === 'exists') resolve(outcome === 'created')
        else reject(new AppError('storage_unavailable', 'Cosmos DB did not take the row of a batch.'))
      }
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }
}
