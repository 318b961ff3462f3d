/** A pending callback of a {@link Clock}. */
export interface Timer {
  /** Safe to call at any time, also after the callback ran. */
  cancel(): void
}

/**
 * The only source of time for code that waits or measures, so that tests own it.
 * Wall time may jump (NTP, a suspended machine): intervals and leases are measured with `monotonic`.
 */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number
  /** Milliseconds since an arbitrary origin; never goes back. */
  monotonic(): number
  /** Runs `fn` once after `ms` milliseconds; zero or less means on the next turn of the event loop. */
  setTimeout(fn: () => void, ms: number): Timer
}

// Node turns a longer delay into 1 ms. 24.8 days is far beyond any deadline here, so clamping loses nothing.
const longestDelayMs = 2 ** 31 - 1

/** The process's clock. Its timers keep the process alive until they ran or were cancelled. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout(fn, ms) {
    const timer = setTimeout(fn, Math.max(0, Math.min(ms, longestDelayMs)))
    return { cancel: () => clearTimeout(timer) }
  },
}
