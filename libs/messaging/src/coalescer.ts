import { AppError } from '@sluice/errors'
import { type Clock, SlotPool, systemClock, withDeadline } from '@sluice/resilience'

/** A batch of a vendor's SDK. */
export interface Batch<T> {
  /** @returns false when the item no longer fits; @throws when it can never be encoded */
  add(item: T): boolean
  send(signal: AbortSignal): Promise<void>
}

/** A coalescer's way to the broker. */
export interface BatchTransport<T> {
  /** Items of different keys never share a batch. */
  createBatch(key: string, signal: AbortSignal): Promise<Batch<T>>
  /** True for an error by which the broker refused the content, and therefore stored nothing of it. */
  isRefusal(error: unknown): boolean
  /** The AppError to throw at the sender. */
  translate(error: unknown): AppError
}

interface Entry<T> {
  item: T
  /** Nobody waits for it any more: its sender gave up before it went out. */
  abandoned: boolean
  resolve(): void
  reject(error: AppError): void
}

interface CoalescerOptions {
  /** What is sent where, for error messages. */
  name: string
  deadlineMs: number
  /** Items waiting or on their way; further senders wait for room, within their deadline. */
  maxPending: number
  clock?: Clock
}

/**
 * Turns concurrent sends into batches without delaying any: what comes within one turn of the event loop, or while a
 * batch of the same key is on its way, goes out together. Each sender learns the fate of its own item.
 */
export class Coalescer<T> {
  readonly #transport: BatchTransport<T>
  readonly #options: CoalescerOptions
  readonly #clock: Clock
  readonly #room: SlotPool
  /** Items not yet on their way, by key. A key is present as long as somebody flushes it. */
  readonly #waiting = new Map<string, Entry<T>[]>()
  readonly #flushes = new Set<Promise<void>>()
  #closed = false

  constructor(transport: BatchTransport<T>, options: CoalescerOptions) {
    this.#transport = transport
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#room = new SlotPool(options.maxPending)
  }

  /**
   * Resolves when the broker has stored the item.
   * @throws AppError `message_too_large` for an item that no batch can hold, `queue_unavailable` when the outcome is
   * unknown (the deadline passed, the connection was lost), or the signal's reason
   */
  send(key: string, item: T, signal?: AbortSignal): Promise<void> {
    if (this.#closed) return Promise.reject(this.#unavailable('closed'))
    const { deadlineMs } = this.#options
    const overrun = () => this.#unavailable(`not confirmed within ${deadlineMs} ms, the outcome is unknown`)
    return withDeadline(deadlineMs, signal, (own) => this.#enqueue(key, item, own), overrun, this.#clock)
  }

  /** Refuses further items and waits for those under way, each of which has its deadline. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(this.#flushes)
  }

  async #enqueue(key: string, item: T, signal: AbortSignal): Promise<void> {
    const slot = this.#room.tryAcquire() ?? (await this.#room.acquire(signal))
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const entry: Entry<T> = { item, abandoned: false, resolve, reject }
    signal.addEventListener('abort', () => (entry.abandoned = true), { once: true })
    this.#add(key, entry)
    // The room is given back when the item's fate is known, not when its sender gave up: until then it takes memory.
    return promise.finally(() => slot.release())
  }

  #add(key: string, entry: Entry<T>): void {
    const waiting = this.#waiting.get(key)
    if (waiting) {
      waiting.push(entry)
      return
    }
    this.#waiting.set(key, [entry])
    const flush = this.#flush(key).finally(() => this.#flushes.delete(flush))
    this.#flushes.add(flush)
  }

  async #flush(key: string): Promise<void> {
    // Handlers that finish in the same turn send in the same batch.
    await new Promise<void>((resolve) => setImmediate(resolve))
    for (;;) {
      const entries = this.#waiting.get(key) ?? []
      if (entries.length === 0) break
      this.#waiting.set(key, [])
      for (let rest = entries; rest.length > 0;) rest = await this.#sendSome(key, rest)
    }
    this.#waiting.delete(key)
  }

  /** Sends one batch from the front of `entries`. @returns those that did not fit into it */
  async #sendSome(key: string, entries: Entry<T>[]): Promise<Entry<T>[]> {
    let batch: Batch<T>
    try {
      batch = await this.#bounded((signal) => this.#transport.createBatch(key, signal))
    } catch (error) {
      for (const entry of entries) entry.reject(this.#transport.translate(error))
      return []
    }
    const { sending, rest } = this.#fill(batch, entries)
    if (sending.length > 0) await this.#sendBatch(key, batch, sending)
    return rest
  }

  #fill(batch: Batch<T>, entries: Entry<T>[]): { sending: Entry<T>[]; rest: Entry<T>[] } {
    const sending: Entry<T>[] = []
    for (const [at, entry] of entries.entries()) {
      if (entry.abandoned) {
        entry.reject(this.#unavailable('was given up before it was sent'))
        continue
      }
      try {
        if (batch.add(entry.item)) sending.push(entry)
        else if (sending.length > 0) return { sending, rest: entries.slice(at) }
        else entry.reject(new AppError('message_too_large', `${this.#options.name}: larger than the broker takes`))
      } catch (cause) {
        entry.reject(new AppError('internal', `${this.#options.name}: cannot be encoded`, { cause }))
      }
    }
    return { sending, rest: [] }
  }

  async #sendBatch(key: string, batch: Batch<T>, sending: Entry<T>[]): Promise<void> {
    try {
      await this.#bounded((signal) => batch.send(signal))
      for (const entry of sending) entry.resolve()
    } catch (error) {
      // A broker takes or refuses a batch as a whole. After a refusal each item goes alone, so that one bad item does
      // not decide the fate of its neighbours; after anything else the outcome is unknown and is said to be.
      const single = sending.length === 1 || !this.#transport.isRefusal(error)
      if (single) for (const entry of sending) entry.reject(this.#transport.translate(error))
      else for (const entry of sending) await this.#sendSome(key, [entry])
    }
  }

  // Senders have their own deadlines; this one keeps a batch that nobody waits for from holding up the next.
  #bounded<R>(fn: (signal: AbortSignal) => Promise<R>): Promise<R> {
    return withDeadline(this.#options.deadlineMs, undefined, fn, () => this.#unavailable('no answer'), this.#clock)
  }

  #unavailable(what: string): AppError {
    return new AppError('queue_unavailable', `${this.#options.name}: ${what}`)
  }
}
