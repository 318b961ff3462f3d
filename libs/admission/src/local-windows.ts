import type { Quota } from './admission-types.ts'
import { callLimits, windows } from './windows.ts'

/** Whoever has limits: a deployment, or a tenant's share. */
type Limited = Pick<Quota, 'name' | 'tokensPerMinute' | 'requestsPerMinute'>

interface Log {
  /** Oldest first. */
  spent: { at: number; tokens: number }[]
  sum: number
  coolUntil: number
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
    const log = this.#open(deployment, now)
    log.spent.push({ at: now, tokens })
    log.sum += tokens
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
    for (const spent of log.spent) {
      if (over <= 0) break
      over -= spent.tokens
      at = Math.max(at, spent.at + windows.tokens)
    }
    for (const { limit, windowMs } of calls) {
      const share = limit * this.#share
      // Less than one call in a window is one call in a longer window.
      const calls = Math.max(1, Math.floor(share))
      const span = share < 1 ? windowMs / share : windowMs
      const first = log.spent.at(-calls)
      if (log.spent.length >= calls && first) at = Math.max(at, first.at + span)
    }
    return Math.ceil(at - now)
  }

  #logOf(deployment: string): Log {
    let log = this.#logs.get(deployment)
    if (!log) this.#logs.set(deployment, (log = { spent: [], sum: 0, coolUntil: 0 }))
    return log
  }

  /** The log without what has left its window. */
  #open(deployment: string, now: number): Log {
    const log = this.#logOf(deployment)
    let gone = 0
    for (let first = log.spent[gone]; first && first.at + windows.tokens <= now; first = log.spent[++gone]) {
      log.sum -= first.tokens
    }
    if (gone > 0) log.spent.splice(0, gone)
    return log
  }
}
