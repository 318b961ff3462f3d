import type { Row, RowSummary } from '@sluice/ledger'

/** A request as the API shows it; the result once there is one. Times are RFC 3339. */
export function requestView(row: Row | RowSummary): object {
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
    decision: result?.sluice.decision ?? null,
    result: result ?? null,
  }
}
