import { AppError } from '@sluice/errors'
import type { Context } from './context.ts'
import type { ListInput } from './ledger-types.ts'
import type { RowSummary } from './row.ts'

// Everything but what may be large.
const fields: (keyof RowSummary)[] = [
  'id',
  'tenant',
  'schema',
  'status',
  'fence',
  'beat',
  'attempts',
  'key',
  'lane',
  'line',
  'via',
  'reply_to',
  'reply_to_session_id',
  'traceparent',
  'accepted_at',
  'updated_at',
  'started_at',
  'first_started_at',
  'finished_at',
  'not_before',
  'deadline',
  'published',
]
const selected = fields.map((name) => `c.${name}`).join(', ')

const older = 'AND (c.accepted_at < @at OR (c.accepted_at = @at AND c.id < @id))'
// Cosmos serves an order over several paths from a composite index that begins with the filtered one.
const order = 'ORDER BY c.tenant ASC, c.accepted_at DESC, c.id DESC'

/** See Ledger.list. A page begins after a position, not at an offset, so rows that come in meanwhile shift nothing. */
export async function list({ rows }: Context, tenant: string, { limit, continuation, ...filter }: ListInput) {
  const from = continuation === undefined ? undefined : positionOf(continuation)
  const narrowed = narrowing(filter)
  const page = await rows.query<RowSummary>({
    sql: [
      `SELECT ${selected} FROM c WHERE c.tenant = @tenant`,
      ...Object.keys(narrowed).map((name) => conditions[name as keyof typeof conditions]),
      from === undefined ? '' : older,
      order,
    ].join(' '),
    parameters: { tenant, ...narrowed, ...from },
    limit: limit + 1,
  })
  const shown = page.slice(0, limit)
  const last = shown.at(-1)
  return last === undefined || page.length <= limit ? { rows: shown } : { rows: shown, continuation: tokenOf(last) }
}

const conditions = {
  status: 'AND c.status = @status',
  lane: 'AND c.lane = @lane',
  customId: 'AND c.line.custom_id = @customId',
  since: 'AND c.accepted_at >= @since',
  until: 'AND c.accepted_at < @until',
}

/** The filters that were given, as the query's parameters. Rows hold their times in UTC, so bounds are compared in UTC. */
function narrowing(
  filter: Omit<ListInput, 'limit' | 'continuation'>,
): Partial<Record<keyof typeof conditions, string>> {
  const { since, until, ...exact } = filter
  const utc = (time: string | undefined) => (time === undefined ? undefined : new Date(time).toISOString())
  const given = Object.entries({ ...exact, since: utc(since), until: utc(until) })
  return Object.fromEntries(given.filter(([, value]) => value !== undefined))
}

const tokenOf = ({ accepted_at, id }: RowSummary) => Buffer.from(`${accepted_at} ${id}`).toString('base64url')

function positionOf(token: string): { at: string; id: string } {
  const [at, id, ...rest] = Buffer.from(token, 'base64url').toString().split(' ')
  if (at !== undefined && id !== undefined && rest.length === 0 && Number.isFinite(Date.parse(at))) return { at, id }
  throw new AppError('invalid_line', 'continuation: not a token that a list returned', { param: 'continuation' })
}
