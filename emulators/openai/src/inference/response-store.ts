import type { Json } from '../json-fields.ts'

interface StoredResponse {
  response: Json
  /** The conversation up to and including this response, as input items. */
  conversation: unknown[]
}

const capacity = 2_000

/** Responses that were stored (`store` is true by default), so that they can be read back and continued. */
export class ResponseStore {
  readonly #stored = new Map<string, StoredResponse>()

  put(resource: string, id: string, stored: StoredResponse): void {
    this.#stored.set(`${resource}/${id}`, stored)
    if (this.#stored.size <= capacity) return
    const oldest = this.#stored.keys().next()
    if (!oldest.done) this.#stored.delete(oldest.value)
  }

  get(resource: string, id: string): StoredResponse | undefined {
    return this.#stored.get(`${resource}/${id}`)
  }

  delete(resource: string, id: string): boolean {
    return this.#stored.delete(`${resource}/${id}`)
  }

  clear(): void {
    this.#stored.clear()
  }
}
