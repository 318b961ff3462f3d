/** The message ids seen within the window. A repeated id does not extend its time, so insertion order is expiry order. */
export class DuplicateHistory {
  readonly #windowMs: number
  readonly #seen = new Map<string, number>()

  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  /** Notes the id. @returns when its time ends, or undefined when it is a duplicate */
  note(messageId: string, now: number): number | undefined {
    this.#forgetUntil(now)
    if (this.#seen.has(messageId)) return undefined
    const untilMs = now + this.#windowMs
    this.#seen.set(messageId, untilMs)
    return untilMs
  }

  restore(messageId: string, untilMs: number): void {
    this.#seen.set(messageId, untilMs)
  }

  #forgetUntil(now: number): void {
    for (const [messageId, untilMs] of this.#seen) {
      if (untilMs > now) return
      this.#seen.delete(messageId)
    }
  }
}
