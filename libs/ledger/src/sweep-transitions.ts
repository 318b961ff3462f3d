import type { RowPatch } from '@sluice/storage'
import type { Context } from './context.ts'
import { isoTime } from './iso-time.ts'
import type { Observed, SweepTransitions } from './ledger-types.ts'
import { resultOf, unrun } from './result-of.ts'
import { isLoose, type Row } from './row.ts'
import { endUnownedPatch, reapPatch, takeOverPatch, touchPatch } from './transitions.ts'

const fields = [
  'id',
  'tenant',
  'status',
  'fence',
  'beat',
  'lane',
  'updated_at',
  'started_at',
  'first_started_at',
  'deadline',
]
const selected = fields.map((name) => `c.${name}`).join(', ')

// The composite index (published, updated_at, id) serves both the filter and the order, page after page.
const due = `c.published = false AND (c.status NOT IN ('waiting', 'packing') OR c.not_before <= @now OR c.deadline <= @now)`
const order = 'ORDER BY c.published ASC, c.updated_at ASC, c.id ASC'
const after = 'AND (c.updated_at > @updatedAt OR (c.updated_at = @updatedAt AND c.id > @id))'

export function sweepTransitions({ rows, clock, swept }: Context): SweepTransitions {
  const apply = async ({ status }: Observed, patch: RowPatch): Promise<Row | undefined> => {
    const outcome = await rows.patch(patch)
    if (outcome.kind !== 'patched') return undefined
    swept.inc({ status })
    return outcome.row
  }
  return {
    unsettled: ({ after: last, limit }) => {
      const now = isoTime(clock.now())
      return rows.query({
        sql: `SELECT ${selected} FROM c WHERE ${due} ${last === undefined ? '' : after} ${order}`,
        parameters: last === undefined ? { now } : { now, updatedAt: last.updated_at, id: last.id },
        limit,
      })
    },
    takeOver: (seen) => apply(seen, takeOverPatch(seen, clock.now())),
    touch: (seen) => apply(seen, touchPatch(seen, clock.now())),
    end: async (seen, status) => {
      const row = await rows.read(seen.id, [seen.tenant, seen.id])
      if (row === undefined || row.fence !== seen.fence || row.status !== seen.status) return undefined
      const nowMs = clock.now()
      const result = resultOf(row, unrun(status), nowMs)
      const patch = isLoose(seen.status) ? endUnownedPatch(seen, result, nowMs) : reapPatch(seen, result, nowMs)
      return apply(seen, patch)
    },
  }
}
