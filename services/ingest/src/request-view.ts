import { resultLineSchema } from '@sluice/contracts'
import type { Row, RowSummary } from '@sluice/ledger'
import { z } from 'zod'
import { placeSchema } from './place.ts'

/** What {@link requestView} answers, for the OpenAPI document. */
export const requestViewSchema = z.object({
  id: z.string(),
  object: z.literal('sluice.request'),
  custom_id: z.string(),
  status: z.string(),
  url: z.string().nullable(),
  priority: z.string(),
  lane: z.string(),
  accepted_at: z.string(),
  started_at: z.string().nullable(),
  finished_at: z.string().nullable(),
  deadline: z.string().nullable(),
  attempts: z.int(),
  place: placeSchema.optional().describe('of one request that waits; lists leave it out'),
  decision: z.unknown(),
  result: resultLineSchema.nullable(),
})

/** A request as the API shows it; the result once there is one. Times are RFC 3339. */
export function requestView(row: Row | RowSummary, place?: z.infer<typeof placeSchema>): object {
  const result = 'result' in row ? row.result : undefined
  return {
    id: row.id,
    object: 'sluice.request',
    custom_id: row.line.custom_id,
    status: row.status,
    url: row.line.url ?? null,
    priority: row.line.sluice?.priority ?? 'standard',
    lane: row.lane,
    accepted_at: row.accepted_at,
    started_at: row.first_started_at ?? row.started_at ?? null,
    finished_at: row.finished_at ?? null,
    deadline: row.deadline ?? null,
    attempts: row.attempts,
    ...(place === undefined ? {} : { place }),
    decision: result?.sluice.decision ?? null,
    result: result ?? null,
  }
}
