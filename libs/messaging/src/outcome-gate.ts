/**
 * Keeps different outcomes of one link out of the same turn of the event loop. rhea 3.0.5 sends the outcomes of a turn
 * together, and where the first two deliveries are neighbours it sends the first one's outcome for both (session.js,
 * write_dispositions compares only from the third on): a message that was dead-lettered beside one that was completed
 * would be completed. Completions share a turn; any other outcome has one to itself.
 */
export class OutcomeGate {
  #turn: 'free' | 'completions' | 'taken' = 'free'

  /** True when an outcome may be sent now, that is before anything is awaited. */
  tryPass(isCompletion: boolean): boolean {
    if (this.#turn === 'completions' && isCompletion) return true
    if (this.#turn !== 'free') return false
    this.#turn = isCompletion ? 'completions' : 'taken'
    setImmediate(() => (this.#turn = 'free'))
    return true
  }

  /** Resolves when it may. Who waits comes before whoever asks in the next turn, so nobody waits for ever. */
  async pass(isCompletion: boolean): Promise<void> {
    do await new Promise<void>((resolve) => setImmediate(resolve))
    while (!this.tryPass(isCompletion))
  }
}
