import type { Slot, SlotSource } from './slot-pool.ts'

/** One member of a {@link LendingPool}: the slots that its owner may count on. */
export interface LendingShare {
  name: string
  /** Its part of the pool, above 0; all parts together are at most 1. */
  share: number
}

interface Member extends SlotSource {
  /** Of its own, the slots that are never lent: they are free, or in use by it. */
  readonly kept: number
}

interface Waiter {
  serve: (slot: Slot) => void
}

interface State {
  guaranteed: number
  kept: number
  inUse: number
  first: Set<Waiter>
  others: Set<Waiter>
}

/** How much of a share stays unlent, so that its owner never waits for a stranger's work to begin with. */
const keptPart = 0.25

/**
 * One bound on work in flight, shared out among members that lend each other what they do not use. What is promised,
 * whatever the others do:
 *
 * - A member gets a quarter of its share (rounded up) at once.
 * - The rest of its share it gets with the next slots that become free, whoever gives them back, before anybody beyond
 *   their own share gets one. Work in hand is never taken away, so that wait is at most one piece of work long.
 * - A slot that nobody has a right to is lent to whoever asks: one busy member may have all but the kept quarters.
 */
export class LendingPool {
  readonly size: number
  readonly #members = new Map<string, State>()
  #inUse = 0

  constructor(size: number, shares: readonly LendingShare[]) {
    if (!Number.isInteger(size) || shares.length > size) {
      throw new RangeError(`${size} slots are too few for ${shares.length} members`)
    }
    this.size = size
    for (const [index, guaranteed] of wholeShares(size, shares).entries()) {
      const kept = Math.ceil(guaranteed * keptPart)
      this.#members.set(shares[index]?.name ?? '', { guaranteed, kept, inUse: 0, first: new Set(), others: new Set() })
    }
  }

  get inUse(): number {
    return this.#inUse
  }

  /** @throws RangeError for a name that the pool was not made with */
  member(name: string): Member {
    const state = this.#members.get(name)
    if (state === undefined) throw new RangeError(`the pool has no member ${name}`)
    return {
      size: state.guaranteed,
      kept: state.kept,
      get inUse() {
        return state.inUse
      },
      tryAcquire: () => (this.#mayTake(state) && !this.#mustYield(state) ? this.#take(state) : undefined),
      acquire: (signal, options) => this.#acquire(state, signal, options?.first === true),
    }
  }

  #acquire(state: State, signal: AbortSignal | undefined, first: boolean): Promise<Slot> {
    if (signal?.aborted) return Promise.reject(signal.reason as Error)
    const ahead = state.first.size + (first ? 0 : state.others.size)
    if (ahead === 0 && this.#mayTake(state) && !this.#mustYield(state)) return Promise.resolve(this.#take(state))
    return new Promise((resolve, reject) => {
      const line = first ? state.first : state.others
      const waiter: Waiter = {
        serve: (slot) => {
          signal?.removeEventListener('abort', onAbort)
          resolve(slot)
        },
      }
      const onAbort = () => {
        line.delete(waiter)
        // What was held back for this one may now go to somebody else.
        this.#serve()
        reject(signal?.reason as Error)
      }
      line.add(waiter)
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  /** A free slot that is not kept for somebody else. */
  #mayTake(state: State): boolean {
    let kept = 0
    for (const other of this.#members.values()) {
      if (other !== state) kept += Math.max(0, other.kept - other.inUse)
    }
    return this.size - this.#inUse > kept
  }

  /** Whoever waits within its share goes before whoever is beyond theirs; within its share nobody yields. */
  #mustYield(state: State): boolean {
    if (state.inUse < state.guaranteed) return false
    for (const other of this.#members.values()) {
      if (other !== state && waiting(other) && other.inUse < other.guaranteed) return true
    }
    return false
  }

  #take(state: State): Slot {
    state.inUse++
    this.#inUse++
    let held = true
    return {
      release: () => {
        if (!held) return
        held = false
        state.inUse--
        this.#inUse--
        this.#serve()
      },
    }
  }

  #serve(): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      const line = next.first.size > 0 ? next.first : next.others
      const [waiter] = line
      if (waiter === undefined) return
      line.delete(waiter)
      waiter.serve(this.#take(next))
    }
  }

  /** Of those that wait and may take, the one that has the least of what is its own. */
  #next(): State | undefined {
    let best: State | undefined
    for (const state of this.#members.values()) {
      if (!waiting(state) || !this.#mayTake(state) || this.#mustYield(state)) continue
      if (best === undefined || state.inUse / state.guaranteed < best.inUse / best.guaranteed) best = state
    }
    return best
  }
}

/** Shares in whole slots: rounded down, but nobody is left without one, at the cost of whoever has most. */
function wholeShares(size: number, shares: readonly LendingShare[]): number[] {
  const whole = shares.map(({ share }) => Math.max(1, Math.floor(size * share + 1e-9)))
  for (let over = whole.reduce((sum, one) => sum + one, 0) - size; over > 0; over--) {
    const most = whole.indexOf(Math.max(...whole))
    whole[most] = (whole[most] ?? 1) - 1
  }
  return whole
}

const waiting = ({ first, others }: State): boolean => first.size + others.size > 0
