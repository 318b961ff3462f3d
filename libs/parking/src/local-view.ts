import type { PlatformConfig } from '@sluice/contracts'
import { roomOf } from './class-of.ts'
import type { LaneView, ParkingView, ParkedRow } from './parking-types.ts'

/** What the script tells of a lane. */
export interface LaneAnswer {
  rows: number
  tokens: number
  classes?: Record<string, number>
  paused: boolean
  purge?: number
  oldest?: number
}

const empty: LaneView = {
  rows: 0,
  tokens: 0,
  classes: {},
  paused: false,
  purgedUntilMs: undefined,
  oldestMs: undefined,
}

/** A full lane receives again once this part of it has gone, so that it does not flutter. */
const reopenAt = 0.9

/** See {@link ParkingView}. */
export class LocalView implements ParkingView {
  known = false
  readonly #lanes: PlatformConfig['lanes']
  #views = new Map<string, LaneView>()
  readonly #full = new Set<string>()

  constructor(lanes: PlatformConfig['lanes']) {
    this.#lanes = lanes
  }

  get all(): ReadonlyMap<string, LaneView> {
    return this.#views
  }

  lane(name: string): LaneView {
    return this.#views.get(name) ?? empty
  }

  anyAhead(lane: string, className: string): boolean {
    const room = roomOf(className)
    for (const { classes } of this.#before(lane)) {
      for (const name in classes) if ((classes[name] ?? 0) > 0 && roomOf(name) === room) return true
    }
    return false
  }

  anyWaiting(lane: string): boolean {
    return this.#before(lane).some(({ rows }) => rows > 0)
  }

  get anyRows(): boolean {
    for (const { rows } of this.#views.values()) if (rows > 0) return true
    return false
  }

  lost(): void {
    this.known = false
  }

  isFull(lane: string): boolean {
    return this.#full.has(lane)
  }

  heard(lanes: Record<string, LaneAnswer>, known: boolean): void {
    this.known = known
    this.#views = new Map(
      Object.entries(lanes).map(([name, { rows, tokens, classes = {}, paused, purge, oldest }]) => {
        const view: LaneView = { rows, tokens, classes, paused, purgedUntilMs: purge, oldestMs: oldest }
        return [name, view]
      }),
    )
    for (const [name, { rows }] of this.#views) this.#judge(name, rows)
  }

  /** A row came or went by this worker's own hand. */
  changed({ lane, class: name }: Pick<ParkedRow, 'lane' | 'class'>, by: 1 | -1): void {
    const view = this.lane(lane)
    const ofClass = Math.max(0, (view.classes[name] ?? 0) + by)
    const rows = Math.max(0, view.rows + by)
    this.#views.set(lane, { ...view, rows, classes: { ...view.classes, [name]: ofClass } })
    this.#judge(lane, rows)
  }

  #judge(lane: string, rows: number): void {
    const most = this.#lanes[lane]?.max_parked ?? Infinity
    if (rows >= most) this.#full.add(lane)
    else if (rows < most * reopenAt) this.#full.delete(lane)
  }

  #before(lane: string): LaneView[] {
    const weight = this.#lanes[lane]?.weight ?? 1
    return Object.entries(this.#lanes)
      .filter(([name, other]) => name === lane || other.weight > weight)
      .map(([name]) => this.lane(name))
  }
}
