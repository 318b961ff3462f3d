import type { VirtualClock } from '../virtual-clock.ts'
import { hashText } from './seeded-draw.ts'

// The service caches prefixes of 1,024 tokens and more in steps of 128. Four characters stand for a token here, which
// keeps the lookup at one pass over the text.
const firstChars = 1_024 * 4
const stepChars = 128 * 4
const timeToLiveMs = 10 * 60_000
const capacity = 20_000
const maxSteps = 200

/** Remembers which prompt prefixes a deployment has seen lately, so that usage can report cached tokens. */
export class PromptCache {
  readonly #seen = new Map<number, number>()
  readonly #clock: VirtualClock

  constructor(clock: VirtualClock) {
    this.#clock = clock
  }

  /** Tokens of this prompt that were cached: 0, or a multiple of 128 from 1,024 on. The prompt is cached from now on. */
  lookup(scope: string, text: string, promptTokens: number): number {
    if (text.length < firstChars || promptTokens < 1_024) return 0
    const now = this.#clock.now()
    let key = hashText(text.slice(0, firstChars), hashText(scope) | 0)
    let matched = 0
    let alive = true
    for (let end = firstChars, steps = 0; end <= text.length && steps < maxSteps; end += stepChars, steps++) {
      if (end > firstChars) key = hashText(text.slice(end - stepChars, end), key | 0)
      const until = this.#seen.get(key)
      alive &&= until !== undefined && until > now
      if (alive) matched = end
      this.#remember(key, now + timeToLiveMs)
    }
    const cached = Math.floor((promptTokens * (matched / text.length)) / 128) * 128
    return cached >= 1_024 ? cached : 0
  }

  clear(): void {
    this.#seen.clear()
  }

  /** Re-inserting moves a key to the end of the map, so the front is always the least recently used. */
  #remember(key: number, until: number): void {
    this.#seen.delete(key)
    this.#seen.set(key, until)
    if (this.#seen.size <= capacity) return
    const oldest = this.#seen.keys().next()
    if (!oldest.done) this.#seen.delete(oldest.value)
  }
}
