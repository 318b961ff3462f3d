export interface Backoff {
  /** Upper bound of the first wait. */
  baseMs: number
  /** Upper bound of every wait. */
  capMs: number
  /** Growth of the bound from one attempt to the next; 2 unless given. */
  factor?: number
}

/**
 * Exponential backoff with full jitter: a wait is drawn evenly from 0 to the bound. The spread, not the growth, is what
 * keeps clients that failed together from returning together.
 * @returns a function from the attempt (1 for the first retry) to milliseconds
 */
export function fullJitter({ baseMs, capMs, factor = 2 }: Backoff) {
  return (attempt: number, random: () => number = Math.random): number =>
    random() * Math.min(capMs, baseMs * factor ** Math.max(0, attempt - 1))
}
