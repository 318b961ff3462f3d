import type { Clock } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'

/** Turns the errors of one outage into two log lines: one when it begins and one when it is over. */
export class Outage {
  readonly #clock: Clock
  readonly #logger: Logger
  #current: { sinceMs: number; error: unknown } | undefined

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#logger = logger
  }

  /** The latest error, while the outage lasts. */
  get error(): unknown {
    return this.#current?.error
  }

  failed(error: unknown): void {
    if (!this.#current) this.#logger.warn({ err: error }, 'cannot receive; trying again until it works')
    this.#current = { sinceMs: this.#current?.sinceMs ?? this.#clock.monotonic(), error }
  }

  over(): void {
    if (!this.#current) return
    const outageMs = Math.round(this.#clock.monotonic() - this.#current.sinceMs)
    this.#current = undefined
    this.#logger.info({ outageMs }, 'receiving again')
  }
}
