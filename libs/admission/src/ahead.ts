import type { Clock, Timer } from '@sluice/resilience'
import type { Grant, Quota, TenantShare } from './admission-types.ts'
import { type Ask, isSameQuota, isSameShare } from './script-batches.ts'
import type { SharedReservation } from './shared-admission.ts'
import { aheadMs } from './windows.ts'

type Room = Extract<SharedReservation, { kind: 'room' }>

/** Room for several calls of one deployment and one caller, and what of it was used. */
export interface Lot {
  id: string
  quota: Quota
  shares: readonly TenantShare[]
  room: Room
  calls: number
  tokens: number
  usedCalls: number
  usedTokens: number
  /** Monotonic. */
  untilMs: number
}

/** One call's part of a lot. */
interface Taken {
  id: string
  room: Room
  left: Grant['tenantLeft']
}

interface AheadOptions {
  clock: Clock
  newId: () => string
  reserve: (ask: Ask) => Promise<SharedReservation>
  /** The lot is over: what was not used is to be given back. */
  settle: (lot: Lot) => void
  onFailure: (error: unknown) => void
}

const fewestCalls = 4
const mostCalls = 100
/** Part of a minute's tokens, of the deployment's as of the caller's, that may lie reserved by one worker. */
const mostPart = 1 / 50
/** After a refusal, which says that more than half of something is used. */
const pauseMs = 250
/** More callers than this at once are not looked at: only some of them call often enough, and looking is linear. */
const mostStreams = 256
const idleMs = 1_000

/**
 * Reserves for calls that are about to come, where they come one after the other: all of a steady stream or of a burst
 * but the first find their room here and wait for no round trip. Redis grants it like any other room, before a call is
 * made, and only where no limit is more than half used with it; what is not used within {@link aheadMs} is given back. So
 * a breaker that opened, a drain or a cool-down elsewhere is noticed that much later by such calls.
 */
export class Ahead {
  readonly #options: AheadOptions
  /** By deployment; a few callers each. */
  readonly #streams = new Map<string, Stream[]>()
  #count = 0
  #forgotMs = -Infinity
  #timer: Timer | undefined

  constructor(options: AheadOptions) {
    this.#options = options
  }

  /** Counts the call, and has room for it now or does not. */
  take(quota: Quota, shares: readonly TenantShare[], tokens: number): Taken | undefined {
    // A provisioned deployment's log is corrected call by call.
    if (quota.kind === 'ptu') return undefined
    const now = this.#options.clock.monotonic()
    const stream = this.#streamOf(quota, shares, now)
    if (stream === undefined) return undefined
    stream.count(tokens, now)
    const taken = stream.take(tokens, now)
    if (stream.wantsMore(now)) {
      stream.asking = true
      // After the call itself, when that has to ask: what is left is told to it without the lot.
      queueMicrotask(() => void this.#ask(stream, now))
    }
    return taken
  }

  /** Gives back what the deployment's calls have not used: it refused one, or failed. */
  drop(deployment: string): void {
    const streams = this.#streams.get(deployment) ?? []
    this.#streams.delete(deployment)
    this.#count -= streams.length
    for (const stream of streams) this.#end(stream)
  }

  /** Gives everything back. */
  clear(): void {
    for (const deployment of this.#streams.keys()) this.drop(deployment)
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #streamOf(quota: Quota, shares: readonly TenantShare[], now: number): Stream | undefined {
    const found = this.#streams.get(quota.name)?.find((one) => one.isOf(quota, shares))
    if (found !== undefined) return found
    if (this.#count >= mostStreams && !this.#forget(now)) return undefined
    const stream = new Stream(quota, shares, now)
    const streams = this.#streams.get(quota.name)
    if (streams === undefined) this.#streams.set(quota.name, [stream])
    else streams.push(stream)
    this.#count++
    return stream
  }

  /** @returns whether there is a place for another caller now */
  #forget(now: number): boolean {
    if (now - this.#forgotMs < idleMs) return false
    this.#forgotMs = now
    for (const [name, streams] of this.#streams) {
      const kept = streams.filter((stream) => !stream.isIdle(now))
      this.#count -= streams.length - kept.length
      if (kept.length > 0) this.#streams.set(name, kept)
      else this.#streams.delete(name)
    }
    return this.#count < mostStreams
  }

  async #ask(stream: Stream, now: number): Promise<void> {
    const { clock, newId, reserve, settle, onFailure } = this.#options
    const { quota, shares } = stream
    const wish = stream.wish(now)
    const id = newId()
    try {
      if (wish === undefined) return
      const room = await reserve({ id, candidates: [quota], shares, paced: false, ...wish })
      if (room.kind === 'later') {
        stream.pausedUntilMs = now + pauseMs
        return
      }
      const lot: Lot = { id, quota, shares, room, ...wish, usedCalls: 0, usedTokens: 0, untilMs: now + aheadMs }
      // A Redis that takes as long as a lot lives is not to be asked for what nobody can use.
      const isLate = clock.monotonic() >= lot.untilMs
      if (isLate) stream.pausedUntilMs = now + pauseMs
      if (isLate || this.#streams.get(quota.name)?.includes(stream) !== true) return settle(lot)
      stream.lots.push(lot)
      this.#timer ??= clock.setTimeout(() => this.#sweep(), aheadMs)
    } catch (error) {
      onFailure(error)
    } finally {
      stream.asking = false
    }
  }

  #sweep(): void {
    const { clock, settle } = this.#options
    const now = clock.monotonic()
    let some = false
    for (const streams of this.#streams.values()) {
      for (const stream of streams) {
        for (const lot of stream.over(now)) settle(lot)
        some ||= stream.lots.length > 0
      }
    }
    this.#timer = some ? clock.setTimeout(() => this.#sweep(), aheadMs) : undefined
  }

  #end(stream: Stream): void {
    for (const lot of stream.lots.splice(0)) this.#options.settle(lot)
  }
}

/** The calls of one caller to one deployment. */
class Stream {
  readonly quota: Quota
  readonly shares: readonly TenantShare[]
  readonly lots: Lot[] = []
  asking = false
  pausedUntilMs = 0
  readonly #mostTokens: number
  #sinceMs: number
  #calls = 0
  #tokens = 0
  /** Calls to be expected within a lot's life, and their tokens altogether, from the period before. */
  #expected = 0
  #expectedTokens = 0

  constructor(quota: Quota, shares: readonly TenantShare[], now: number) {
    this.quota = quota
    this.shares = shares
    this.#sinceMs = now
    const limits = [quota.tokensPerMinute, ...shares.map(({ tokensPerMinute = Infinity }) => tokensPerMinute)]
    this.#mostTokens = Math.min(...limits) * mostPart
  }

  /** Whoever has other limits than before is another caller: what was reserved for it was so within the former ones. */
  isOf(quota: Quota, shares: readonly TenantShare[]): boolean {
    return (
      shares.length === this.shares.length &&
      shares.every((one, index) => isSameShare(one, this.shares[index] as TenantShare)) &&
      isSameQuota(quota, this.quota)
    )
  }

  isIdle(now: number): boolean {
    return !this.asking && this.lots.length === 0 && now - this.#sinceMs > idleMs
  }

  count(tokens: number, now: number): void {
    const elapsed = now - this.#sinceMs
    if (elapsed >= aheadMs) {
      this.#expected = (this.#calls * aheadMs) / elapsed
      this.#expectedTokens = (this.#tokens * aheadMs) / elapsed
      this.#sinceMs = now
      this.#calls = this.#tokens = 0
    }
    this.#calls++
    this.#tokens += tokens
  }

  take(tokens: number, now: number): Taken | undefined {
    // Of this lot and of those before it, which were counted when it was granted.
    let unusedCalls = 0
    let unusedTokens = 0
    for (const lot of this.lots) {
      unusedCalls += lot.calls - lot.usedCalls
      unusedTokens += lot.tokens - lot.usedTokens
      if (now >= lot.untilMs || lot.usedCalls === lot.calls || lot.usedTokens + tokens > lot.tokens) continue
      lot.usedCalls++
      lot.usedTokens += tokens
      const { requests, tokens: tokensLeft, resetMs } = lot.room.tenantLeft
      const left: Grant['tenantLeft'] = {}
      if (requests !== undefined) left.requests = requests + unusedCalls - 1
      if (tokensLeft !== undefined) left.tokens = tokensLeft + unusedTokens - tokens
      if (resetMs !== undefined) left.resetMs = resetMs
      return { id: `${lot.id}.${lot.usedCalls}`, room: lot.room, left }
    }
    return undefined
  }

  /** While half of what is expected is still there, nothing more is asked for. */
  wantsMore(now: number): boolean {
    const expected = this.#isBurst ? this.#calls : this.#expected
    if (expected < fewestCalls || this.asking || now < this.pausedUntilMs) return false
    return this.#left(now) < Math.min(expected, mostCalls) / 2
  }

  /** @returns undefined where so few calls fit in what may lie reserved that it is not worth a lot */
  wish(now: number): { calls: number; tokens: number } | undefined {
    const expected = this.#isBurst ? 2 * this.#calls - this.#left(now) : this.#expected
    const mean = Math.max(1, this.#isBurst ? this.#tokens / this.#calls : this.#expectedTokens / this.#expected)
    const calls = Math.floor(Math.min(expected, mostCalls, (this.#mostTokens - this.#reservedTokens) / mean))
    return calls < fewestCalls ? undefined : { calls, tokens: Math.ceil(calls * mean) }
  }

  /** In this period, which is not over, have come twice the calls of all of the one before: as many again may follow. */
  get #isBurst(): boolean {
    return this.#calls > 2 * this.#expected
  }

  /** Of all lots: those that are over are not given back yet. */
  get #reservedTokens(): number {
    return this.lots.reduce((sum, lot) => sum + lot.tokens - lot.usedTokens, 0)
  }

  #left(now: number): number {
    let left = 0
    for (const lot of this.lots) if (now < lot.untilMs) left += lot.calls - lot.usedCalls
    return left
  }

  /** Takes out the lots of which nothing can be used any more. */
  over(now: number): Lot[] {
    const ended: Lot[] = []
    for (let at = this.lots.length - 1; at >= 0; at--) {
      const lot = this.lots[at] as Lot
      if (now < lot.untilMs && lot.usedCalls < lot.calls) continue
      this.lots.splice(at, 1)
      ended.push(lot)
    }
    return ended
  }
}
