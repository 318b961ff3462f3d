/**
 * Gives so many answers in one turn of the event loop, and the others, in their order, in the next turns.
 *
 * A call costs more at its end than at its start. Where the ends of many calls are read at once, all of them would be
 * written out before the next request is looked at: callers in a closed loop then wait together, ask together, and all
 * their calls are with the model together, while this process has nothing to do. A few ends a turn instead let what has
 * come meanwhile be sent on first.
 */
export class AnswerTurns {
  readonly #perTurn: number
  #given = 0
  #waiting: Waiting[] = []

  /** @param perTurn at least 1 */
  constructor(perTurn: number) {
    this.#perTurn = perTurn
  }

  /**
   * Gives the answer now, as long as there is room in this turn.
   * @param failed told what `give` throws: what is thrown in a later turn nobody catches, and it would end the process
   */
  run(give: () => void, failed: (thrown: unknown) => void): void {
    if (this.#given === this.#perTurn) return void this.#waiting.push({ give, failed })
    // The check phase follows what was polled: a turn ends there.
    if (this.#given++ === 0) setImmediate(this.#turn)
    giveOne({ give, failed })
  }

  readonly #turn = (): void => {
    const next = this.#waiting.splice(0, this.#perTurn)
    this.#given = next.length
    if (next.length > 0) setImmediate(this.#turn)
    for (const one of next) giveOne(one)
  }
}

interface Waiting {
  give: () => void
  failed: (thrown: unknown) => void
}

function giveOne({ give, failed }: Waiting): void {
  try {
    give()
  } catch (thrown) {
    failed(thrown)
  }
}
