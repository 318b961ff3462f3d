import type { Clock } from '@sluice/resilience'
import type { Cosmos } from '@sluice/storage'

/** What an operator ordered for a lane, in the container `lanes`: Redis only has a copy. */
export interface LaneState {
  id: string
  paused: boolean
  /** Requests accepted until then are to be ended, RFC 3339. */
  purged_until?: string
  updated_at: string
}

export interface LaneStates {
  all(): Promise<LaneState[]>
  set(lane: string, change: { paused: boolean } | { purgedUntilMs: number }): Promise<void>
}

const mostLanes = 1_000

/** Every method throws AppError `storage_unavailable` while Cosmos is away. */
export function createLaneStates({ cosmos, clock }: { cosmos: Cosmos; clock: Clock }): LaneStates {
  const rows = cosmos.rows<LaneState>('lanes')
  return {
    all: () => rows.query({ sql: 'SELECT * FROM c', limit: mostLanes }),
    async set(lane, change) {
      const updated_at = new Date(clock.now()).toISOString()
      const fields =
        'paused' in change
          ? { paused: change.paused, updated_at }
          : { purged_until: new Date(change.purgedUntilMs).toISOString(), updated_at }
      if (await rows.create({ id: lane, paused: false, ...fields })) return
      const operations = Object.entries(fields).map(([name, value]) => ({
        op: 'set' as const,
        path: `/${name}`,
        value,
      }))
      await rows.patch({ id: lane, key: [lane], operations })
    },
  }
}
