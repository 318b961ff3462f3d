const shortestLockMs = 1000
const longestLockMs = 5 * 60_000

/**
 * How long locks last from now, although the broker tells the moment of their end by its own clock. The entity's lock
 * duration is never longer than lockedUntil − enqueuedTime, two readings of one clock, and equal to it for a message
 * that was delivered as it came in; so the smallest difference seen bounds what a slow clock here would overestimate.
 */
export class LockDuration {
  #boundMs = longestLockMs

  /** @returns the remaining milliseconds, at least a second: a fast clock here must not give up what can be renewed */
  remainingMs(lockedUntil: Date | undefined, nowMs: number, enqueuedAt?: Date): number {
    if (lockedUntil === undefined) return shortestLockMs
    if (enqueuedAt) this.#boundMs = Math.min(this.#boundMs, Math.max(shortestLockMs, +lockedUntil - +enqueuedAt))
    return Math.max(shortestLockMs, Math.min(this.#boundMs, +lockedUntil - nowMs))
  }
}
