import { type Clock, type Slot, SlotPool } from '@sluice/resilience'

interface Lane {
  slots: SlotPool
  waiting: number
  /** The last call took long, or one takes long right now. */
  slow: boolean
  /** Calls at a time that the receiver has earned by answering quickly. */
  earned: number
  meanMs: number
  /** When (monotonic) its last call ended. */
  movedAtMs: number
  /** Until when (monotonic) the calls that were sent away are expected to take. */
  bookedUntilMs: number
}

/** The right to make one call. */
export interface Permit {
  /** Gives it back; a second call does nothing. */
  leave(): void
}

export interface WebhookLanesOptions {
  /** Calls in flight that have not taken long yet. */
  fast: number
  /** Calls in flight that take long. */
  slow: number
  slowAfterMs: number
  clock: Clock
}

const maxWaiting = 2_048
const longestWaits = 10
const maxLanes = 20_000
const maxEarned = 256
const shortestStayMs = 250
const longestStayMs = 60_000

/**
 * Keeps receivers out of each other's way. Every receiver has a lane with its own bound on calls in flight, and all
 * lanes share two pools of calls. A call begins in the fast pool; once it has taken `slowAfterMs` it moves to the slow
 * one, and while it goes on the next calls of its lane begin there. A lane starts with one call at a time and
 * earns more with each quick answer. So a receiver that hangs from the start holds one fast slot for `slowAfterMs`,
 * once, and however many of them hang, they wait for nobody but each other.
 *
 * Rejected: one pool with a bound per receiver, which enough hanging receivers fill together.
 */
export class WebhookLanes {
  readonly #options: WebhookLanesOptions
  readonly #fast: SlotPool
  readonly #slow: SlotPool
  readonly #lanes = new Map<string, Lane>()
  #waiting = 0

  constructor(options: WebhookLanesOptions) {
    this.#options = options
    this.#fast = new SlotPool(options.fast)
    this.#slow = new SlotPool(options.slow)
  }

  get inFlight(): { fast: number; slow: number } {
    return { fast: this.#fast.inUse, slow: this.#slow.inUse }
  }

  /**
   * A permit, now or soon: somebody waits for as long as calls of the lane end every `waitMs` at least; or, when there
   * is no sense in waiting here, in how many milliseconds to come again. Whoever is sent away takes a place in line, so
   * that a long line does not come back all at once.
   */
  async enter(key: string, concurrency: number, waitMs: number): Promise<Permit | { laterMs: number }> {
    const lane = this.#lane(key, concurrency)
    const permit = lane.slow ? this.#takeSlow(lane) : this.#take(lane, this.#fast)
    if (permit !== undefined) return permit
    if (!lane.slow && this.#waiting < maxWaiting) {
      const late = await this.#wait(lane, waitMs)
      if (late !== undefined) return late
    }
    return { laterMs: this.book(key, concurrency) }
  }

  #wait(lane: Lane, waitMs: number): Promise<Permit | undefined> {
    const { clock } = this.#options
    const startedAt = clock.monotonic()
    lane.waiting++
    this.#waiting++
    return new Promise((resolve) => {
      const end = (permit: Permit | undefined) => {
        timer.cancel()
        lane.waiting--
        this.#waiting--
        resolve(permit)
      }
      let own: Slot | undefined
      const look = () => {
        const now = clock.monotonic()
        if (now - lane.movedAtMs < waitMs && now - startedAt < waitMs * longestWaits) {
          timer = clock.setTimeout(look, waitMs)
          return
        }
        leaveLine()
        end(undefined)
        own?.release()
      }
      let timer = clock.setTimeout(look, waitMs)
      let leaveLine = lane.slots.wait((slot) => {
        own = slot
        const shared = lane.slow ? undefined : this.#fast.tryAcquire()
        if (shared !== undefined) return end(this.#permit(lane, slot, shared, this.#fast))
        if (!lane.slow) {
          leaveLine = this.#fast.wait((late) => end(this.#permit(lane, slot, late, this.#fast)))
          return
        }
        // Slow by now: what waited must not carry the lane's slowness into the fast pool. Released in a turn of its own,
        // or a long line would unwind within itself.
        end(undefined)
        queueMicrotask(() => slot.release())
      })
    })
  }

  /** Takes a place in the line of those who come again. @returns milliseconds until then */
  book(key: string, concurrency: number): number {
    const lane = this.#lane(key, concurrency)
    const now = this.#options.clock.monotonic()
    const each = Math.max(lane.meanMs, 1) / concurrency
    lane.bookedUntilMs = Math.min(Math.max(lane.bookedUntilMs, now) + each, now + longestStayMs)
    return Math.max(shortestStayMs, lane.bookedUntilMs - now) * (1 + Math.random() / 10)
  }

  #lane(key: string, concurrency: number): Lane {
    const known = this.#lanes.get(key)
    const lane = known ?? {
      slots: new SlotPool(1),
      waiting: 0,
      slow: false,
      earned: 1,
      meanMs: 0,
      movedAtMs: 0,
      bookedUntilMs: 0,
    }
    const size = Math.min(lane.earned, concurrency)
    if (lane.slots.size !== size) lane.slots.resize(size)
    if (known === undefined) {
      if (this.#lanes.size >= maxLanes) this.#forgetOldest()
      this.#lanes.set(key, lane)
    }
    return lane
  }

  #forgetOldest(): void {
    for (const [key, lane] of this.#lanes) {
      if (lane.slots.inUse > 0 || lane.waiting > 0) continue
      this.#lanes.delete(key)
      return
    }
  }

  /**
   * A slow lane's next call. With none in flight it is a probe, and begins as any other: a receiver that was slow once
   * does not wait for those that hang. Others begin in the slow pool, whose upper half is for calls that turn out to be
   * slow, so that these give their fast slots back.
   */
  #takeSlow(lane: Lane): Permit | undefined {
    const room = this.#fast.inUse * 2 < this.#fast.size && this.#slow.inUse < this.#slow.size
    if (lane.slots.inUse === 0 && room) return this.#take(lane, this.#fast)
    return this.#slow.inUse * 2 < this.#slow.size ? this.#take(lane, this.#slow) : undefined
  }

  #take(lane: Lane, pool: SlotPool): Permit | undefined {
    const own = lane.slots.tryAcquire()
    const shared = own === undefined ? undefined : pool.tryAcquire()
    if (own !== undefined && shared !== undefined) return this.#permit(lane, own, shared, pool)
    own?.release()
    return undefined
  }

  #permit(lane: Lane, own: Slot, taken: Slot, pool: SlotPool): Permit {
    const { clock, slowAfterMs } = this.#options
    const startedAt = clock.monotonic()
    let shared = taken
    const timer = clock.setTimeout(() => {
      lane.slow = true
      const slot = pool === this.#fast ? this.#slow.tryAcquire() : undefined
      if (slot === undefined) return
      shared.release()
      shared = slot
    }, slowAfterMs)
    let left = false
    return {
      leave: () => {
        if (left) return
        left = true
        timer.cancel()
        const ms = clock.monotonic() - startedAt
        lane.meanMs = lane.meanMs === 0 ? ms : lane.meanMs * 0.8 + ms * 0.2
        lane.slow = ms >= slowAfterMs
        lane.movedAtMs = clock.monotonic()
        // A slow receiver that answers keeps what it had earned; concurrency bounds it in #lane.
        if (!lane.slow) lane.earned = Math.min(lane.earned * 2, maxEarned)
        shared.release()
        own.release()
      },
    }
  }
}
