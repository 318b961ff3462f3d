/** The admission rules written down as naively as possible: every question is answered by counting. */
export interface ModelLimits {
  tokens: number
  calls: number
}

const tokenWindow = 61_000
const margin = 40

export class AdmissionModel {
  readonly #epoch: number
  readonly #grants = new Map<string, { at: number; tokens: number }[]>()
  readonly #cool = new Map<string, number>()
  readonly #unseen = new Map<string, { tokens: number; measured: number }>()
  /** Up to when what was spent would have lasted at an even rate: all of it, and what could wait at a fifth of the rate. */
  readonly #lasts = new Map<string, { all: number; waiting: number }>()

  constructor(epoch: number) {
    this.#epoch = epoch
  }

  hasRoom(name: string, limits: ModelLimits, tokens: number, at: number, canWait: boolean): boolean {
    if (canWait && !this.#itsTurn(name, limits, tokens, at)) return false
    if (at < (this.#cool.get(name) ?? 0)) return false
    if (this.used(name, at) + this.unseen(name, limits.tokens, at) + tokens > limits.tokens) return false
    return [
      [Math.ceil(limits.calls / 60), 1_000],
      [Math.ceil(limits.calls / 6), 10_000],
      [limits.calls, 60_000],
    ].every(([limit = 0, length = 0]) => {
      const window = length + margin
      const counted = this.#within(name, at, window).length
      const before = Math.ceil((limit * Math.max(0, this.#epoch + window - at)) / window)
      return counted + before + 1 <= limit
    })
  }

  #itsTurn(name: string, limits: ModelLimits, tokens: number, at: number): boolean {
    const held = this.used(name, at) + this.unseen(name, limits.tokens, at) + tokens
    const { all, waiting } = this.#lasts.get(name) ?? { all: 0, waiting: 0 }
    return held <= Math.floor(limits.tokens * 0.2) || at >= Math.ceil(all) - 1_000 || at >= Math.ceil(waiting)
  }

  /** The first millisecond from `now` on that has room, found by trying each change of the windows. */
  firstRoom(name: string, limits: ModelLimits, tokens: number, now: number, canWait: boolean): number {
    let low = now
    if (this.hasRoom(name, limits, tokens, low, canWait)) return low
    // Without new grants room never goes away again, so the moment can be bisected.
    let high = now + 400_000
    if (!this.hasRoom(name, limits, tokens, high, canWait)) throw new Error(`no room for ${tokens} of ${limits.tokens}`)
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (this.hasRoom(name, limits, tokens, middle, canWait)) high = middle
      else low = middle
    }
    return high
  }

  grant(name: string, limits: ModelLimits, tokens: number, at: number, canWait: boolean): void {
    const { all, waiting } = this.#lasts.get(name) ?? { all: 0, waiting: 0 }
    const lasts = (tokens * tokenWindow) / limits.tokens
    this.#lasts.set(name, {
      all: Math.max(all, at) + lasts,
      waiting: canWait ? Math.max(waiting, at) + lasts / 0.2 : waiting,
    })
    this.#grants.set(name, [...(this.#grants.get(name) ?? []), { at, tokens }])
  }

  cool(name: string, limit: number, until: number, at: number): void {
    if (until <= (this.#cool.get(name) ?? 0)) return
    this.#cool.set(name, until)
    this.#unseen.set(name, { tokens: Math.max(0, limit - this.used(name, at)), measured: until })
  }

  observe(
    name: string,
    limit: number,
    seen: { used: number; usedAtGrant: number; grantedAt: number; tokens: number },
    at: number,
  ): void {
    const unseen = this.unseen(name, limit, at)
    const least = seen.used - Math.max(seen.usedAtGrant, this.used(name, at))
    const settled = this.#within(name, at, tokenWindow)
      .filter((grant) => grant.at <= seen.grantedAt - 1_000)
      .reduce((sum, grant) => sum + grant.tokens, 0)
    const most = Math.max(0, seen.used - seen.tokens - settled)
    const newer = seen.grantedAt > (this.#unseen.get(name)?.measured ?? this.#epoch)
    if (least > unseen) this.#unseen.set(name, { tokens: least, measured: at })
    else if (newer && most < unseen) this.#unseen.set(name, { tokens: most, measured: at })
  }

  used(name: string, at: number): number {
    return this.#within(name, at, tokenWindow).reduce((sum, grant) => sum + grant.tokens, 0)
  }

  unseen(name: string, limit: number, at: number): number {
    const { tokens, measured } = this.#unseen.get(name) ?? { tokens: limit, measured: this.#epoch }
    const left = Math.min(tokenWindow, Math.max(0, measured + tokenWindow - at))
    return Math.floor((Math.min(tokens, limit) * left) / tokenWindow)
  }

  #within(name: string, at: number, window: number) {
    return (this.#grants.get(name) ?? []).filter((grant) => grant.at + window > at && grant.at <= at)
  }
}
