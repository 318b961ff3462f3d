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

/**
 * A counted bound on work in flight. Waiters are served first come, first served: a slot that becomes free goes
 * straight to the oldest waiter, so a late `tryAcquire` cannot overtake it.
 */
export class SlotPool implements SlotSource {
  #size: number
  #inUse = 0
  // A Set keeps insertion order and forgets an aborted waiter in constant time.
  readonly #waiters = new Set<(slot: Slot) => void>()

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
    if (this.#inUse >= this.#size || this.#waiters.size > 0) return undefined
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
        this.#waiters.delete(waiter)
        reject(signal?.reason as Error)
      }
      this.#waiters.add(waiter)
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  /**
   * As `acquire`, for those that wait often: a promise and a signal cost several times as much. `serve` is called with a
   * slot once one becomes free, within the release of another.
   * @returns ends the wait, unless the slot was served already
   */
  wait(serve: (slot: Slot) => void): () => void {
    this.#waiters.add(serve)
    return () => this.#waiters.delete(serve)
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
    for (const waiter of this.#waiters) {
      if (this.#inUse >= this.#size) return
      this.#waiters.delete(waiter)
      waiter(this.#take())
    }
  }
}

function checked(size: number): number {
  if (!Number.isInteger(size) || size < 1) throw new RangeError(`a pool needs a whole number of slots, got ${size}`)
  return size
}
