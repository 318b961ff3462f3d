import type { Context } from './context.ts'
import type { ParkInput, WaitingRow } from './ledger-types.ts'
import type { Row } from './row.ts'
import { shelvePatch } from './transitions.ts'

const fields: (keyof WaitingRow)[] = [
  'id',
  'tenant',
  'lane',
  'status',
  'attempts',
  'accepted_at',
  'updated_at',
  'deadline',
  'parked',
]
const selected = fields.map((name) => `c.${name}`).join(', ')

// The sweepers' composite index (published, updated_at, id) serves this order too.
const order = 'ORDER BY c.published ASC, c.updated_at ASC, c.id ASC'
const after = 'AND (c.updated_at > @updatedAt OR (c.updated_at = @updatedAt AND c.id > @id))'

/** accepted → waiting; see Ledger.shelve. */
export async function shelve({ rows, clock }: Context, row: Row, input: ParkInput): Promise<Row | undefined> {
  const outcome = await rows.patch(shelvePatch(row, input, clock.now()))
  return outcome.kind === 'patched' ? outcome.row : undefined
}

/** A page of the rows that wait; see Ledger.waiting. */
export function waiting(
  { rows }: Context,
  { after: last, limit }: { after?: WaitingRow | undefined; limit: number },
): Promise<WaitingRow[]> {
  const where = `c.published = false AND c.status = 'waiting' ${last === undefined ? '' : after}`
  return rows.query<WaitingRow>({
    sql: `SELECT ${selected} FROM c WHERE ${where} ${order}`,
    parameters: last === undefined ? {} : { updatedAt: last.updated_at, id: last.id },
    limit,
  })
}
