/** One finished or current window, as the control API shows it. */
export interface WindowRecord {
  startedAt: number
  accepted: number
  refused: number
}

// An amount over the whole limit fits no window; Azure then says to retry after 86,400 seconds.
const neverFitsMs = 86_400_000

/**
 * Counts what was accepted in periods of a fixed length. Azure documents its running counts as reset at each period's
 * end; where a period starts is not documented, so every deployment has its own phase and a client that lines up with
 * the clock's minutes is not right by accident.
 */
export class FixedWindow {
  readonly #lengthMs: number
  readonly #phaseMs: number
  #startedAt = Number.NEGATIVE_INFINITY
  #accepted = 0
  #refused = 0
  readonly #history: WindowRecord[] = []
  readonly #keep: number

  constructor(lengthMs: number, phaseMs: number, keep = 0) {
    this.#lengthMs = lengthMs
    this.#phaseMs = phaseMs
    this.#keep = keep
  }

  /** How long an amount has to wait for room, in ms; 0 when it fits now. */
  waitFor(amount: number, limit: number, now: number): number {
    this.#roll(now)
    if (amount > limit) return neverFitsMs
    return this.#accepted + amount <= limit ? 0 : this.#startedAt + this.#lengthMs - now
  }

  accept(amount: number, now: number): void {
    this.#roll(now)
    this.#accepted += amount
  }

  refuse(amount: number, now: number): void {
    this.#roll(now)
    this.#refused += amount
  }

  used(now: number): number {
    this.#roll(now)
    return this.#accepted
  }

  resetsInMs(now: number): number {
    this.#roll(now)
    return this.#startedAt + this.#lengthMs - now
  }

  /** Past windows, oldest first, then the current one. */
  records(now: number): WindowRecord[] {
    this.#roll(now)
    return [...this.#history, { startedAt: this.#startedAt, accepted: this.#accepted, refused: this.#refused }]
  }

  #roll(now: number): void {
    if (now < this.#startedAt + this.#lengthMs) return
    const startedAt = Math.floor((now - this.#phaseMs) / this.#lengthMs) * this.#lengthMs + this.#phaseMs
    if (this.#keep > 0 && this.#startedAt !== Number.NEGATIVE_INFINITY) {
      this.#history.push({ startedAt: this.#startedAt, accepted: this.#accepted, refused: this.#refused })
      if (this.#history.length > this.#keep) this.#history.shift()
    }
    this.#startedAt = startedAt
    this.#accepted = 0
    this.#refused = 0
  }
}

/** Never more than the limit in any span of the window's length: the stricter reading, one slot a second. */
export class SlidingWindow {
  readonly #slots: { second: number; accepted: number }[] = []
  readonly #lengthMs: number
  #sum = 0

  constructor(lengthMs: number) {
    this.#lengthMs = lengthMs
  }

  waitFor(amount: number, limit: number, now: number): number {
    this.#expire(now)
    if (amount > limit) return neverFitsMs
    let over = this.#sum + amount - limit
    if (over <= 0) return 0
    for (const slot of this.#slots) {
      over -= slot.accepted
      if (over <= 0) return this.#endOf(slot.second) - now
    }
    return this.#lengthMs
  }

  accept(amount: number, now: number): void {
    this.#expire(now)
    const second = Math.floor(now / 1000)
    const last = this.#slots.at(-1)
    if (last?.second === second) last.accepted += amount
    else this.#slots.push({ second, accepted: amount })
    this.#sum += amount
  }

  used(now: number): number {
    this.#expire(now)
    return this.#sum
  }

  resetsInMs(now: number): number {
    this.#expire(now)
    const last = this.#slots.at(-1)
    return last ? this.#endOf(last.second) - now : 0
  }

  /** A slot leaves when its whole second is out of the window, so nothing accepted in it is forgotten early. */
  #endOf(second: number): number {
    return (second + 1) * 1000 + this.#lengthMs
  }

  #expire(now: number): void {
    for (let first = this.#slots[0]; first && this.#endOf(first.second) <= now; first = this.#slots[0]) {
      this.#slots.shift()
      this.#sum -= first.accepted
    }
  }
}
