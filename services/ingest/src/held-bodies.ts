import { AppError } from '@sluice/errors'

/** What one synchronous call holds of its body. */
export interface HeldBody {
  /**
   * Counts up to that many bytes of this body.
   * @throws AppError `no_capacity` as a 503 when all bodies together would be too much
   */
  reach(bytes: number): void
  /** The call is over. */
  free(): void
}

/**
 * Counts what a process holds of the bodies of synchronous calls, from their first byte to the end of their answers: a
 * body is kept until then, because another deployment may need it.
 */
export class HeldBodies {
  readonly #limit: number
  #bytes = 0

  /** @param limit bytes of all bodies together */
  constructor(limit: number) {
    this.#limit = limit
  }

  open(): HeldBody {
    let own = 0
    return {
      reach: (bytes) => {
        const more = bytes - own
        if (more <= 0) return
        if (this.#bytes + more > this.#limit) throw tooMuch()
        this.#bytes += more
        own = bytes
      },
      free: () => {
        this.#bytes -= own
        own = 0
      },
    }
  }
}

const tooMuch = () =>
  new AppError('no_capacity', 'Too many large bodies at a time; please retry.', { status: 503, retryAfterMs: 1_000 })
