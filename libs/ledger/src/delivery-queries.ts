import { AppError } from '@sluice/errors'
import type { RowStore } from '@sluice/storage'
import type { DeliveryRow, DeliveryStatus } from './delivery-row.ts'
import { isoTime } from './iso-time.ts'

/** A request has at most 17 targets, its tenant at most 50 endpoints, and there is an event or two. */
const listLimit = 1_000

export interface DeliveryListInput {
  status: DeliveryStatus
  endpoint?: string | undefined
  /** 1 to 100. */
  limit: number
  /** From the page before. */
  continuation?: string | undefined
}

type Overdue = Pick<DeliveryRow, 'id' | 'tenant' | 'requestId' | 'attempts' | 'next_attempt_at'>
/** How many deliveries wait, and since when (RFC 3339) the longest overdue one. */
export interface Backlog {
  pending: number
  oldestDue: string | undefined
}

export interface DeliveryQueries {
  /** Pending webhooks whose attempt was due before `beforeMs` (epoch ms), the longest overdue first, after `after`. */
  overdue(beforeMs: number, limit: number, after?: Overdue): Promise<Overdue[]>
  listFor(tenant: string, requestId: string): Promise<DeliveryRow[]>
  /** The latest change first. @throws AppError `invalid_line` (param `after`) for a continuation that is none of ours. */
  list(tenant: string, input: DeliveryListInput): Promise<{ rows: DeliveryRow[]; continuation?: string }>
  /** The first pending row of an ordered key. */
  headOf(tenant: string, fifoKey: string): Promise<DeliveryRow | undefined>
  backlog(): Promise<Backlog>
}

const pendingWebhooks = `c.status = 'pending' AND c.sink = 'webhook'`

export const deliveryQueries = (rows: RowStore<DeliveryRow>): DeliveryQueries => ({
  overdue: (beforeMs, limit, after) =>
    rows.query<Overdue>({
      sql: [
        'SELECT c.id, c.tenant, c.requestId, c.attempts, c.next_attempt_at FROM c',
        `WHERE ${pendingWebhooks} AND c.next_attempt_at < @before`,
        after === undefined ? '' : 'AND (c.next_attempt_at > @at OR (c.next_attempt_at = @at AND c.id > @id))',
        'ORDER BY c.status ASC, c.next_attempt_at ASC, c.id ASC',
      ].join(' '),
      parameters: {
        before: isoTime(beforeMs),
        ...(after?.next_attempt_at === undefined ? {} : { at: after.next_attempt_at, id: after.id }),
      },
      limit,
    }),
  listFor: (tenant, requestId) =>
    rows.query({
      sql: 'SELECT * FROM c WHERE c.tenant = @tenant AND c.requestId = @requestId',
      parameters: { tenant, requestId },
      limit: listLimit,
    }),
  list: async (tenant, { status, endpoint, limit, continuation }) => {
    const from = continuation === undefined ? undefined : positionOf(continuation)
    const page = await rows.query<DeliveryRow>({
      sql: [
        'SELECT * FROM c WHERE c.tenant = @tenant AND c.status = @status',
        endpoint === undefined ? '' : 'AND c.endpoint = @endpoint',
        from === undefined ? '' : 'AND (c.updated_at < @at OR (c.updated_at = @at AND c.id < @id))',
        'ORDER BY c.tenant ASC, c.status ASC, c.updated_at DESC, c.id DESC',
      ].join(' '),
      parameters: { tenant, status, ...(endpoint === undefined ? {} : { endpoint }), ...from },
      limit: limit + 1,
    })
    const shown = page.slice(0, limit)
    const last = shown.at(-1)
    return last === undefined || page.length <= limit ? { rows: shown } : { rows: shown, continuation: tokenOf(last) }
  },
  headOf: async (tenant, fifoKey) => {
    const [head] = await rows.query<DeliveryRow>({
      sql:
        `SELECT * FROM c WHERE c.tenant = @tenant AND c.fifo_key = @fifoKey AND c.status = 'pending' ` +
        'ORDER BY c.fifo_key ASC, c.fifo_order ASC',
      parameters: { tenant, fifoKey },
      limit: 1,
    })
    return head
  },
  backlog: async () => {
    const [counts, oldest] = await Promise.all([
      rows.query<number>({ sql: `SELECT VALUE COUNT(1) FROM c WHERE ${pendingWebhooks}`, limit: 1 }),
      rows.query<{ next_attempt_at?: string }>({
        sql:
          `SELECT c.next_attempt_at FROM c WHERE ${pendingWebhooks} ` +
          'ORDER BY c.status ASC, c.next_attempt_at ASC, c.id ASC',
        limit: 1,
      }),
    ])
    return { pending: counts[0] ?? 0, oldestDue: oldest[0]?.next_attempt_at }
  },
})

const tokenOf = ({ updated_at, id }: DeliveryRow) => Buffer.from(`${updated_at} ${id}`).toString('base64url')

function positionOf(token: string): { at: string; id: string } {
  const text = Buffer.from(token, 'base64url').toString()
  const space = text.indexOf(' ')
  const at = text.slice(0, Math.max(0, space))
  const id = text.slice(space + 1)
  if (id !== '' && Number.isFinite(Date.parse(at))) return { at, id }
  throw new AppError('invalid_line', 'after: not a token that a list returned', { param: 'after' })
}
