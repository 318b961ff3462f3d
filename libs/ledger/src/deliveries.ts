import type { DeliverTarget, ResultEvent } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import { condition, type Cosmos } from '@sluice/storage'
import type { Logger } from '@sluice/telemetry'
import { type DeliveryAttempt, deliveryIdOf, type DeliveryRow, type DeliveryStatus } from './delivery-row.ts'
import { isoTime } from './iso-time.ts'

/** A request has at most 17 targets and an event or two; the bound is there for the query's sake. */
const listLimit = 1_000

/** One event on its way to one target. */
export interface Delivered {
  tenant: string
  requestId: string
  event: ResultEvent
  target: DeliverTarget
}

type Settled = Exclude<DeliveryStatus, 'pending'>

/** Deliveries of results to their targets: the rows are the truth, whatever times the attempts. */
export interface Deliveries {
  /**
   * One pending row a target, first due at `nextAttemptAtMs` (epoch ms). A row that is there already is returned as it
   * is, whatever became of it.
   */
  open(deliveries: (Delivered & { nextAttemptAtMs: number })[]): Promise<DeliveryRow[]>
  get(tenant: string, requestId: string, id: string): Promise<DeliveryRow | undefined>
  /**
   * Notes the attempt that follows those of `row`.
   * @param next what the delivery is now, or when it is tried again (epoch ms)
   * @returns the row after it; undefined when somebody else recorded that attempt first
   */
  record(row: DeliveryRow, attempt: DeliveryAttempt, next: Settled | { atMs: number }): Promise<DeliveryRow | undefined>
  isDelivered(delivered: Delivered): Promise<boolean>
  /**
   * Notes a delivery that was made without a row of its own before: one write. Once it counts as delivered it stays so,
   * while a failure is overwritten by a later success.
   */
  settled(delivered: Delivered, outcome: { status: Settled; at: number; ms: number; error?: string }): Promise<void>
  /** Pending deliveries whose attempt was due before `beforeMs` (epoch ms), the longest overdue first. */
  overdue(beforeMs: number, limit: number): Promise<DeliveryRow[]>
  listFor(tenant: string, requestId: string): Promise<DeliveryRow[]>
}

/** Opens the deliveries. Every method answers within its deadline or throws AppError `storage_unavailable`. */
export function createDeliveries(deps: { cosmos: Cosmos; clock: Clock; logger: Logger }): Deliveries {
  const { clock, logger } = deps
  const rows = deps.cosmos.rows<DeliveryRow>('deliveries')
  const keyOf = (row: Pick<DeliveryRow, 'tenant' | 'requestId'>) => [row.tenant, row.requestId]

  const newRow = ({ tenant, requestId, event, target }: Delivered): DeliveryRow => {
    const now = isoTime(clock.now())
    return {
      id: deliveryIdOf(event.id, target),
      tenant,
      requestId,
      eventId: event.id,
      sink: target.type,
      target,
      status: 'pending',
      event,
      attempts: [],
      created_at: now,
      updated_at: now,
    }
  }
  const openOne = async ({ nextAttemptAtMs, ...delivered }: Delivered & { nextAttemptAtMs: number }) => {
    const row = { ...newRow(delivered), next_attempt_at: isoTime(nextAttemptAtMs) }
    if (await rows.create(row)) return row
    const stored = await rows.read(row.id, keyOf(row))
    if (stored === undefined) throw new AppError('storage_unavailable', `${row.id} exists but cannot be read yet.`)
    return stored
  }

  return {
    open: (deliveries) => Promise.all(deliveries.map(openOne)),
    get: (tenant, requestId, id) => rows.read(id, [tenant, requestId]),
    record: async (row, attempt, next) => {
      const again = typeof next === 'object'
      const outcome = await rows.patch({
        id: row.id,
        key: keyOf(row),
        when: condition`c.status = 'pending' AND ARRAY_LENGTH(c.attempts) = ${row.attempts.length}`,
        operations: [
          { op: 'add', path: '/attempts/-', value: attempt },
          { op: 'set', path: '/status', value: again ? 'pending' : next },
          ...(again ? [{ op: 'set' as const, path: '/next_attempt_at', value: isoTime(next.atMs) }] : []),
          { op: 'set', path: '/updated_at', value: isoTime(clock.now()) },
        ],
      })
      if (outcome.kind === 'patched') return outcome.row
      const { id, tenant, requestId } = row
      logger.info({ requestId, tenant, delivery: id, outcome: outcome.kind }, 'the attempt was not recorded')
      return undefined
    },
    isDelivered: async (delivered) => {
      const row = await rows.read(deliveryIdOf(delivered.event.id, delivered.target), keyOf(delivered))
      return row?.status === 'delivered'
    },
    settled: async (delivered, { status, at, ms, error }) => {
      const attempt: DeliveryAttempt = { at: isoTime(at), status: 0, ms, ...(error === undefined ? {} : { error }) }
      const row = { ...newRow(delivered), status, attempts: [attempt] }
      if (await rows.create(row)) return
      await rows.patch({
        id: row.id,
        key: keyOf(row),
        when: condition`c.status != 'delivered'`,
        operations: [
          { op: 'add', path: '/attempts/-', value: attempt },
          { op: 'set', path: '/status', value: status },
          { op: 'set', path: '/updated_at', value: row.updated_at },
        ],
      })
    },
    overdue: (beforeMs, limit) =>
      rows.query({
        sql:
          `SELECT * FROM c WHERE c.status = 'pending' AND c.next_attempt_at < @before ` +
          'ORDER BY c.status ASC, c.next_attempt_at ASC',
        parameters: { before: isoTime(beforeMs) },
        limit,
      }),
    listFor: (tenant, requestId) =>
      rows.query({
        sql: 'SELECT * FROM c WHERE c.tenant = @tenant AND c.requestId = @requestId',
        parameters: { tenant, requestId },
        limit: listLimit,
      }),
  }
}
