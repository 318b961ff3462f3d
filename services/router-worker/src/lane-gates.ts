import type { ParkingView } from '@sluice/parking'
import type { Logger } from '@sluice/telemetry'
import type { PurgedLanes } from './purged-lanes.ts'

/** What receives from a lane's queue. */
export interface Gated {
  pause(): Promise<void>
  resume(): void
}

/**
 * Opens and closes the lanes' receivers: a paused lane stays in its queue, and so does a full one, whose rows the index
 * should not grow by: the queue is the dam behind the dam. A purge opens even a paused one for as long as it takes to end
 * what lies there.
 */
export class LaneGates {
  readonly #lanes: ReadonlyMap<string, Gated>
  readonly #view: ParkingView
  readonly #purged: PurgedLanes
  readonly #logger: Logger
  readonly #closed = new Set<string>()
  #turn: Promise<void> = Promise.resolve()

  constructor(options: { lanes: ReadonlyMap<string, Gated>; view: ParkingView; purged: PurgedLanes; logger: Logger }) {
    this.#lanes = options.lanes
    this.#view = options.view
    this.#purged = options.purged
    this.#logger = options.logger
  }

  /** Whether the lane's messages are left in its queue. */
  isClosed(lane: string): boolean {
    return this.#view.isFull(lane) || (this.#view.lane(lane).paused && !this.#purged.isSweepingOut(lane))
  }

  /** Brings the receivers in line with what is known now. */
  follow(): void {
    for (const [name, lane] of this.#lanes) {
      const closed = this.isClosed(name)
      if (closed === this.#closed.has(name)) continue
      this.#logger.info({ lane: name, full: this.#view.isFull(name) }, closed ? 'lane closed' : 'lane open')
      if (closed) {
        this.#closed.add(name)
        // One after the other: a receiver that is opened while it closes would stay closed.
        this.#turn = this.#turn.then(() => lane.pause())
      } else {
        this.#closed.delete(name)
        this.#turn = this.#turn.then(() => lane.resume())
      }
      this.#turn = this.#turn.catch((err: unknown) => this.#logger.warn({ err, lane: name }, 'lane not closed cleanly'))
    }
  }

  async settled(): Promise<void> {
    await this.#turn
  }
}
