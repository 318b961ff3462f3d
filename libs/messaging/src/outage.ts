import type { Clock, Timer } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'

// Longer than the SDK takes from one failed attempt to reach the broker to the next.
const quietMs = 30_000

/** Turns the errors of one outage into two log lines: one when it begins and one when it is over. */
export class Outage {
  readonly #clock: Clock
  readonly #logger: Logger
  #sinceMs: number | undefined
  #lastError: unknown
  #quiet: Timer | undefined

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#logger = logger
  }

  /** The last error, while the outage lasts. */
  get error(): unknown {
    return this.#sinceMs === undefined ? undefined : this.#lastError
  }

  failed(error: unknown): void {
    this.#lastError = error
    if (this.#sinceMs === undefined) {
      this.#sinceMs = this.#clock.monotonic()
      this.#logger.warn({ err: error }, 'cannot receive; trying again until it works')
    }
    // A quiet queue gives no other sign of recovery than that the errors end.
    this.#quiet?.cancel()
    this.#quiet = this.#clock.setTimeout(() => this.worked(), quietMs)
  }

  worked(): void {
    if (this.#sinceMs === undefined) return
    this.#logger.info({ outageMs: Math.round(this.#clock.monotonic() - this.#sinceMs) }, 'receiving again')
    this.close()
  }

  close(): void {
    this.#quiet?.cancel()
    this.#quiet = undefined
    this.#sinceMs = undefined
  }
}
