import type { FinishInput, Row } from '@sluice/ledger'
import type { ParkingView } from '@sluice/parking'
import type { Clock } from '@sluice/resilience'

/** How a purge ends a request that somebody has claimed. */
export const purgedResult: FinishInput = {
  status: 'cancelled',
  error: { code: 'cancelled', message: 'The lane was purged.', param: null },
}

/** After a purge, and after each request that it ended, a paused lane is received from for this much longer. */
const sweepOutMs = 5_000

/**
 * Which requests a purge ends: those that were accepted before it, wherever they turn up afterwards. So nothing has to
 * know when a purge is over.
 */
export class PurgedLanes {
  readonly #view: Pick<ParkingView, 'lane'>
  readonly #clock: Clock
  readonly #lastEndedMs = new Map<string, number>()

  constructor(view: Pick<ParkingView, 'lane'>, clock: Clock) {
    this.#view = view
    this.#clock = clock
  }

  includes({ lane, accepted_at }: Pick<Row, 'lane' | 'accepted_at'>): boolean {
    const until = this.#view.lane(lane).purgedUntilMs
    return until !== undefined && Date.parse(accepted_at) <= until
  }

  ended({ lane }: Pick<Row, 'lane'>): void {
    this.#lastEndedMs.set(lane, this.#clock.now())
  }

  /** Whether the lane's queue may still hold what a purge ends. */
  isSweepingOut(lane: string): boolean {
    const until = this.#view.lane(lane).purgedUntilMs
    if (until === undefined) return false
    return this.#clock.now() - Math.max(until, this.#lastEndedMs.get(lane) ?? 0) < sweepOutMs
  }
}
