import { isHeld, type Ledger, type WaitingRow } from '@sluice/ledger'
import type { Clock } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import type { LaneStates } from './lane-states.ts'
import { createParkingScript, type ScriptingRedis } from './parking-script.ts'
import type { ParkedRow, Parking } from './parking-types.ts'

export interface RebuildOptions {
  redis: ScriptingRedis
  parking: Pick<Parking, 'restore' | 'setPaused' | 'purge'>
  ledger: Pick<Ledger, 'waiting'>
  states: Pick<LaneStates, 'all'>
  clock: Clock
  logger: Logger
  deadlineMs?: number
}

const pageSize = 500
const parallel = 16
/** How long a worker that reads the rows may be silent before another one begins anew. */
const turnMs = 30_000

/** Of a request that was parked before anybody knew what it needs. */
export const unknownClass = { class: 'any', tokens: 1_000 }

/**
 * Fills an index that lost its memory from the rows that wait, page by page, and tells it again what operators ordered.
 * One worker does it; the index is in use meanwhile, and a row that is in it already is left as it is.
 * @returns false when another worker is at it
 */
export async function rebuildIndex(options: RebuildOptions): Promise<boolean> {
  const { redis, parking, ledger, states, clock, logger, deadlineMs = 1_000 } = options
  const run = createParkingScript({ redis, clock, deadlineMs })
  const { won } = await run<{ won: boolean }>('begin', { forMs: turnMs })
  if (!won) return false
  // Before the first row: a lane that is paused must not begin to move in between.
  for (const { id, paused, purged_until } of await states.all()) {
    if (paused) await parking.setPaused(id, true)
    if (purged_until !== undefined) await parking.purge(id, Date.parse(purged_until))
  }
  let restored = 0
  let after: WaitingRow | undefined
  do {
    const page = await ledger.waiting({ after, limit: pageSize })
    const rows = page.map((row) => parkedRow(row))
    const restoring = async () => {
      for (let row = rows.shift(); row !== undefined; row = rows.shift()) await parking.restore(row)
    }
    await Promise.all(Array.from({ length: parallel }, restoring))
    await run('go_on', { forMs: turnMs })
    restored += page.length
    after = page.length < pageSize ? undefined : page.at(-1)
  } while (after !== undefined)
  await run('done', {})
  if (restored > 0) logger.warn({ restored }, 'the parking index was rebuilt from the rows')
  return true
}

/** A stored row as the index knows it. */
export const parkedRow = ({
  tenant,
  id,
  lane,
  accepted_at,
  deadline,
  status,
  attempts,
  parked = unknownClass,
}: WaitingRow): ParkedRow => ({
  tenant,
  id,
  lane,
  class: parked.class,
  tokens: parked.tokens,
  acceptedMs: Date.parse(accepted_at),
  deadlineMs: deadline === undefined ? undefined : Date.parse(deadline),
  // A claim that goes on counts as well.
  interrupted: attempts > (isHeld(status) ? 1 : 0),
})
