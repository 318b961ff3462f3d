/** One received call, as GET /_control/calls shows it. Times are the virtual clock's; ms is real time. */
export interface CallRecord {
  index: number
  at: number
  resource: string
  deployment: string | null
  operation: string
  status: number
  /** ok, refused (429), failed, aborted (the client left), dropped (a fault cut the connection), open (not ended). */
  outcome: 'ok' | 'refused' | 'failed' | 'aborted' | 'dropped' | 'open'
  estimated_tokens: number
  prompt_tokens: number
  cached_tokens: number
  completion_tokens: number
  model: string | null
  request_id: string
  client_request_id: string | null
  headers: Record<string, string>
  prompt_hash: string | null
  right: boolean | null
  difficulty: number | null
  fault: string | null
  ms: number
}

/** The last calls, in order of arrival, in a ring: a reader that falls behind is told how many it missed. */
export class CallLog {
  readonly #capacity: number
  readonly #ring: CallRecord[] = []
  #next = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** Stores a record, gives it its index, and returns it: it stays live until the call ends. */
  add(record: Omit<CallRecord, 'index'>): CallRecord {
    const stored: CallRecord = { index: this.#next, ...record }
    this.#ring[this.#next % this.#capacity] = stored
    this.#next++
    return stored
  }

  /** Calls from an index on. `next` is the index to ask for afterwards, `missed` what had already been overwritten. */
  read(from: number, limit: number): { calls: CallRecord[]; next: number; missed: number } {
    const oldest = Math.max(0, this.#next - this.#capacity)
    const start = Math.max(from, oldest)
    const end = Math.min(this.#next, start + limit)
    const calls: CallRecord[] = []
    for (let index = start; index < end; index++) {
      const record = this.#ring[index % this.#capacity]
      if (record) calls.push(record)
    }
    return { calls, next: Math.max(end, from), missed: Math.max(0, oldest - from) }
  }

  get total(): number {
    return this.#next
  }

  clear(): void {
    this.#ring.length = 0
    this.#next = 0
  }
}
