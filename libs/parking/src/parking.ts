import type { PlatformConfig } from '@sluice/contracts'
import type { Clock } from '@sluice/resilience'
import type { Metrics } from '@sluice/telemetry'
import { classOf, roomOf } from './class-of.ts'
import { type LaneAnswer, LocalView } from './local-view.ts'
import { createParkingMetrics } from './parking-metrics.ts'
import { createParkingScript, type ScriptingRedis } from './parking-script.ts'
import type { Because, Next, ParkedRow, Parking, Place } from './parking-types.ts'

export interface ParkingOptions {
  redis: ScriptingRedis
  config: Pick<PlatformConfig, 'lanes' | 'tenants' | 'deployments'>
  clock: Clock
  metrics: Metrics
  /** How long Redis may take to answer. */
  deadlineMs?: number
  /** Replaces Redis TIME, epoch ms, where time is simulated. */
  time?: () => number
}

interface Entry {
  lane: string
  class: string
  tenant: string
  tokens: number
  due: number
  deadline?: number
  accepted: number
  interrupted?: true
  turn?: number
}

interface PlaceAnswer {
  position?: number
  eta?: [number, number]
}

type NextAnswer =
  | { row: string; entry: Entry; why: Because; known: boolean }
  | { row?: undefined; lanes: Record<string, LaneAnswer>; known: boolean; wake?: number }

/** A request without a deadline is due as if it had this much time, lest those with deadlines keep it back for ever. */
const usualPatienceMs = 3_600_000
/** How long after `stage` a row that nobody parked is tried. */
const stagedForMs = 5_000
/** Charges that wait for the next call; more than that and the oldest tenant's are merged anyway. */
const maxCharges = 1_000

const nameOf = ({ tenant, id }: Pick<ParkedRow, 'tenant' | 'id'>) => `${tenant}|${id}`

/** Opens the index; see {@link Parking}. */
export function createParking(options: ParkingOptions): Parking {
  const { config, clock, deadlineMs = 1_000, time } = options
  const run = createParkingScript({ redis: options.redis, clock, deadlineMs, time })
  const view = new LocalView(config.lanes)
  const metrics = createParkingMetrics(options.metrics, view)
  const lanes = Object.entries(config.lanes).map(([name, { weight }]) => [name, weight] as const)
  const capacityPerMs = createCapacity(config.deployments)
  let charges = new Map<string, [lane: string, tenant: string, tokens: number]>()

  const parked = (row: ParkedRow, more: { readyInMs: number; ifAbsent?: boolean; blockMs?: number | undefined }) => {
    const { weight = 1, max_share = 1 } = config.tenants[row.tenant] ?? {}
    const input = { row: nameOf(row), entry: entryOf(row), weight, cap: max_share, capacity: capacityPerMs(row.class) }
    return run<PlaceAnswer>('park', { ...input, ...more, lanes })
  }

  return {
    view,
    async stage(row) {
      await parked(row, { readyInMs: stagedForMs })
    },
    async park(row, { roomInMs } = {}) {
      const answer = await parked(row, {
        readyInMs: 0,
        blockMs: roomInMs === undefined ? undefined : Math.ceil(roomInMs),
      })
      view.changed(row, 1)
      return placeOf(answer)
    },
    async delay(row, ms) {
      await parked(row, { readyInMs: Math.max(1, Math.ceil(ms)) })
      view.changed(row, 1)
    },
    async restore(row) {
      await parked(row, { readyInMs: 0, ifAbsent: true })
    },
    async next(openLanes): Promise<Next> {
      const charged = charges
      charges = new Map()
      const open = lanes.filter(([name]) => openLanes.includes(name))
      const answer = await run<NextAnswer>('next', { lanes, open, charges: [...charged.values()] })
      if (answer.row !== undefined) {
        view.known = answer.known
        return { kind: 'row', row: rowOf(answer.row, answer.entry), because: answer.why }
      }
      view.heard(answer.lanes, answer.known)
      return { kind: 'none', wakeInMs: answer.wake }
    },
    async later(row, afterMs, because) {
      metrics.tried(row.lane, 'later')
      await run('later', { row: nameOf(row), turn: row.turn, afterMs: Math.max(1, Math.ceil(afterMs)), because, lanes })
    },
    async taken(row) {
      metrics.tried(row.lane, 'taken')
      view.changed(row, -1)
      const { waited, eta } = await run<{ waited?: number; eta?: number }>('taken', {
        row: nameOf(row),
        turn: row.turn,
        lanes,
      })
      if (waited !== undefined) metrics.waited(row.lane, waited, eta)
    },
    async drop(row) {
      await run('drop', { row: nameOf(row), turn: row.turn, lanes })
    },
    charge(lane, tenant, tokens) {
      const key = `${lane}|${tenant}`
      const before = charges.get(key)?.[2] ?? 0
      if (charges.size < maxCharges || before > 0) charges.set(key, [lane, tenant, before + tokens])
    },
    async place(tenant, id) {
      // The class is the entry's, so the capacity of all deployments stands in until something was measured.
      const answer = await run<PlaceAnswer>('place', {
        row: nameOf({ tenant, id }),
        lanes,
        capacity: capacityPerMs(''),
      })
      return answer.position === undefined ? undefined : placeOf(answer)
    },
    async expect(lane, tenant) {
      return placeOf(await run<PlaceAnswer>('expect', { lane, tenant, lanes, capacity: capacityPerMs('') }))
    },
    async look() {
      const answer = await run<{ lanes: Record<string, LaneAnswer>; known: boolean }>('look', { lanes })
      view.heard(answer.lanes, answer.known)
      return view.all
    },
    async setPaused(lane, paused) {
      await run('pause', { lane, paused })
    },
    async purge(lane, untilMs) {
      await run('purge', { lane, till: untilMs })
    },
  }
}

const entryOf = ({ lane, class: name, tenant, tokens, acceptedMs, deadlineMs, interrupted }: ParkedRow): Entry => ({
  lane,
  class: name,
  tenant,
  tokens: Math.max(1, Math.ceil(tokens)),
  due: deadlineMs ?? acceptedMs + usualPatienceMs,
  ...(deadlineMs === undefined ? {} : { deadline: deadlineMs }),
  accepted: acceptedMs,
  ...(interrupted === true ? { interrupted } : {}),
})

const rowOf = (
  name: string,
  { lane, class: className, tenant, tokens, accepted, deadline, interrupted, turn }: Entry,
): ParkedRow => ({
  tenant,
  id: name.slice(tenant.length + 1),
  lane,
  class: className,
  tokens,
  acceptedMs: accepted,
  deadlineMs: deadline,
  interrupted,
  turn,
})

const placeOf = ({ position = 0, eta }: PlaceAnswer): Place => ({ position, etaMs: eta })

/** Tokens a millisecond that the quotas of a class allow, for estimates made before anything was measured. */
function createCapacity(deployments: PlatformConfig['deployments']): (className: string) => number {
  const total = deployments.reduce((sum, { quota }) => sum + quota.tokens_per_minute, 0) / 60_000
  const byName = new Map(deployments.map((one) => [classOf([one]), one.quota.tokens_per_minute / 60_000]))
  return (className) => {
    const known = roomOf(className)
      .split('+')
      .map((name) => byName.get(name))
    return known.includes(undefined) ? total : known.reduce<number>((sum, rate) => sum + (rate ?? 0), 0)
  }
}
