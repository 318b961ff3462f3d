/** The right to have one piece of work in flight. */
export interface Slot {
  /** Gives the slot back; a second call does nothing. */
  release(): void
}

/** Where slots come from, as those who take them see it. */
export interface SlotSource {
  /** What may be in use without being borrowed. */
  readonly size: number
  readonly inUse: number
  /** Slots that nobody else could use; all of `size` where nothing is lent. */
  readonly kept?: number
  /** A slot if one is free and nobody with a better right waits for it. */
  tryAcquire(): Slot | undefined
  /**
   * Waits for a slot. @param options `first`: before those of the same source that did not say so
   * @throws the signal's reason when it aborts first
   */
  acquire(signal?: AbortSignal, options?: { first?: boolean }): Promise<Slot>
}

interface Waiter {
  serve: (slot: Slot) => void
  before: Waiter | undefined
  after: Waiter | undefined
  waits: boolean
}

/**
 * Those who wait, first come, first served. Not a Set, although it would do: it replaces its table every so many
 * deletions, each old table knows the next one, and once they have grown old they keep everybody who ever waited from
 * being collected young: measured, half of what collecting costs in a process that delivers webhooks. For the same reason
 * whoever leaves forgets those who stood around it.
 */
class Line {
  #first: Waiter | undefined
  #last: Waiter | undefined

  get isEmpty(): boolean {
    return this.#first === undefined
  }

  join(serve: Waiter['serve']): Waiter {
    const waiter: Waiter = { serve, before: this.#last, after: undefined, waits: true }
    if (this.#last === undefined) this.#first = waiter
    else this.#last.after = waiter
    this.#last = waiter
    return waiter
  }

  /** Does nothing when it was served already. */
  leave(waiter: Waiter): void {
    if (!waiter.waits) return
    const { before, after } = waiter
    if (before === undefined) this.#first = after
    else before.after = after
    if (after === undefined) this.#last = before
    else after.before = before
    waiter.before = undefined
    waiter.after = undefined
    waiter.waits = false
  }

  next(): Waiter['serve'] | undefined {
    const first = this.#first
    if (first !== undefined) this.leave(first)
    return first?.serve
  }
}

/**
 * A counted bound on work in flight. Waiters are served first come, first served: a slot that becomes free goes
 * straight to the oldest waiter, so a late `tryAcquire` cannot overtake it.
 */
export class SlotPool implements SlotSource {
  #size: number
  #inUse = 0
  readonly #waiters = new Line()

  constructor(size: number) {
    this.#size = checked(size)
  }

  get size(): number {
    return this.#size
  }

  /** Slots handed out; above `size` for a while after the pool shrank. */
  get inUse(): number {
    return this.#inUse
  }

  /** Takes effect at once when the pool grows, and as slots come back when it shrinks. */
  resize(size: number): void {
    this.#size = checked(size)
    this.#serve()
  }

  /** A slot if one is free and nobody waits for it. */
  tryAcquire(): Slot | undefined {
    if (this.#inUse >= this.#size || !this.#waiters.isEmpty) return undefined
    return this.#take()
  }

  /** Waits for a slot. @throws the signal's reason when it aborts first */
  acquire(signal?: AbortSignal): Promise<Slot> {
    if (signal?.aborted) return Promise.reject(signal.reason as Error)
    const free = this.tryAcquire()
    if (free) return Promise.resolve(free)
    return new Promise((resolve, reject) => {
      const waiter = (slot: Slot) => {
        signal?.removeEventListener('abort', onAbort)
        resolve(slot)
      }
      const onAbort = () => {
        this.#waiters.leave(place)
        reject(signal?.reason as Error)
      }
      const place = this.#waiters.join(waiter)
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  /**
   * As `acquire`, for those that wait often: a promise and a signal cost several times as much. `serve` is called with a
   * slot once one becomes free, within the release of another.
   * @returns ends the wait, unless the slot was served already
   */
  wait(serve: (slot: Slot) => void): () => void {
    const place = this.#waiters.join(serve)
    return () => this.#waiters.leave(place)
  }

  #take(): Slot {
    this.#inUse++
    let held = true
    return {
      release: () => {
        if (!held) return
        held = false
        this.#inUse--
        this.#serve()
      },
    }
  }

  #serve(): void {
    while (this.#inUse < this.#size) {
      const serve = this.#waiters.next()
      if (serve === undefined) return
      serve(this.#take())
    }
  }
}

function checked(size: number): number {
  if (!Number.isInteger(size) || size < 1) throw new RangeError(`a pool needs a whole number of slots, got ${size}`)
  return size
}
