import type { Quota } from './admission-types.ts'
import { callLimits, windows } from './windows.ts'

/** Whoever has limits: a deployment, or a tenant's share. */
type Limited = Pick<Quota, 'name' | 'tokensPerMinute' | 'requestsPerMinute'>

/**
 * What was spent within the token window, oldest first. Numbers in a ring, not objects in a list: a busy worker has some
 * hundred thousand of them, each of which would outlive the young generation.
 */
class Log {
  coolUntil = 0
  sum = 0
  length = 0
  /** Moments and tokens in turn. */
  #ring = new Float64Array(2 * 16)
  #first = 0

  /** Of the `index`-th oldest. */
  at(index: number): number {
    return this.#ring[this.#place(index)] as number
  }

  tokens(index: number): number {
    return this.#ring[this.#place(index) + 1] as number
  }

  push(at: number, tokens: number): void {
    if (2 * this.length === this.#ring.length) this.#grow()
    const place = this.#place(this.length++)
    this.#ring[place] = at
    this.#ring[place + 1] = tokens
    this.sum += tokens
  }

  dropUntil(moment: number): void {
    while (this.length > 0 && this.at(0) <= moment) {
      this.sum -= this.tokens(0)
      this.#first = this.#place(1)
      this.length--
    }
  }

  #place(index: number): number {
    // The length is a power of two.
    return (this.#first + 2 * index) & (this.#ring.length - 1)
  }

  #grow(): void {
    const larger = new Float64Array(2 * this.#ring.length)
    larger.set(this.#ring.subarray(this.#first))
    larger.set(this.#ring.subarray(0, this.#first), this.#ring.length - this.#first)
    this.#ring = larger
    this.#first = 0
  }
}

/**
 * One worker's own view of the quotas, for when Redis is out of reach: what it spent itself against its share of each
 * limit. It is kept up to date while Redis answers, so that the moment of the switch gives nothing away.
 */
export class LocalWindows {
  readonly #share: number
  readonly #logs = new Map<string, Log>()

  /** @param share of every limit, above 0 and up to 1 */
  constructor(share: number) {
    this.#share = share
  }

  spend(deployment: string, tokens: number, now: number): void {
    this.#open(deployment, now).push(now, tokens)
  }

  cool(deployment: string, until: number): void {
    const log = this.#logOf(deployment)
    log.coolUntil = Math.max(log.coolUntil, until)
  }

  /** Tokens in the window. */
  used(deployment: string, now: number): number {
    return this.#open(deployment, now).sum
  }

  /** How long until the deployment has room, in ms; 0 when it has, Infinity when the share can never hold the call. */
  waitFor(quota: Limited, tokens: number, now: number, calls = callLimits(quota.requestsPerMinute)): number {
    const log = this.#open(quota.name, now)
    const tokenLimit = Math.floor(quota.tokensPerMinute * this.#share)
    if (tokens > tokenLimit) return Number.POSITIVE_INFINITY
    let at = Math.max(now, log.coolUntil)
    let over = log.sum + tokens - tokenLimit
    for (let index = 0; over > 0 && index < log.length; index++) {
      over -= log.tokens(index)
      at = Math.max(at, log.at(index) + windows.tokens)
    }
    for (const { limit, windowMs } of calls) {
      const share = limit * this.#share
      // Less than one call in a window is one call in a longer window.
      const calls = Math.max(1, Math.floor(share))
      const span = share < 1 ? windowMs / share : windowMs
      if (log.length >= calls) at = Math.max(at, log.at(log.length - calls) + span)
    }
    return Math.ceil(at - now)
  }

  #logOf(deployment: string): Log {
    let log = this.#logs.get(deployment)
    if (!log) this.#logs.set(deployment, (log = new Log()))
    return log
  }

  /** The log without what has left its window. */
  #open(deployment: string, now: number): Log {
    const log = this.#logOf(deployment)
    log.dropUntil(now - windows.tokens)
    return log
  }
}
