import type { EventEnvelope } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import { condition, type Cosmos } from '@sluice/storage'
import type { Logger } from '@sluice/telemetry'
import { type DeliveryQueries, deliveryQueries } from './delivery-queries.ts'
import {
  type DeliveryAttempt,
  deliveryIdOf,
  type DeliveryRow,
  type DeliveryStatus,
  type DeliveryTarget,
} from './delivery-row.ts'
import { isoTime } from './iso-time.ts'
import { RowWriter } from './row-writer.ts'

/** One event on its way to one target. */
export interface Delivered {
  tenant: string
  requestId: string
  event: EventEnvelope
  /** The event's JSON as it came, where it is at hand: it is stored so, and not written once more. */
  eventJson?: string | undefined
  target: DeliveryTarget
  /** Deliveries of one key are made one after another, in the order of their events' times. */
  fifoKey?: string | undefined
}

/** What an attempt leads to: the next one at `atMs` (epoch ms), or the end. */
export type Next = { kind: 'again'; atMs: number } | { kind: 'delivered' } | { kind: 'failed'; reason: string }

/** Deliveries of events to their targets: the rows are the truth, whatever times the attempts. */
export interface Deliveries extends DeliveryQueries {
  /**
   * A pending row, first due at `nextAttemptAtMs` (epoch ms). A row that is there already is returned as it is, whatever
   * became of it.
   */
  open(delivered: Delivered, nextAttemptAtMs: number): Promise<DeliveryRow>
  /**
   * A row for what needs no attempt to be settled, or had its first one before there was a row: one write. Of a delivery
   * that has a row already, the attempt is noted as its next one, if it is still pending.
   * @returns the row after it; undefined when it was not noted
   */
  conclude(delivered: Delivered, attempt: DeliveryAttempt | undefined, next: Next): Promise<DeliveryRow | undefined>
  get(tenant: string, requestId: string, id: string): Promise<DeliveryRow | undefined>
  find(delivered: Delivered): Promise<DeliveryRow | undefined>
  /**
   * Notes the attempt that follows those of `row`.
   * @returns the row after it; undefined when somebody else recorded that attempt first
   */
  record(row: DeliveryRow, attempt: DeliveryAttempt, next: Next): Promise<DeliveryRow | undefined>
  /** Ends a pending delivery without an attempt. @returns false when it had ended or gone on already */
  giveUp(row: DeliveryRow, reason: string): Promise<boolean>
  /** Moves the next attempt without counting one. @returns the row after it; undefined when it had moved already */
  postpone(row: DeliveryRow, atMs: number): Promise<DeliveryRow | undefined>
  /** Makes a settled delivery pending again, due at `atMs`, with a schedule that starts anew. */
  reopen(row: Pick<DeliveryRow, 'id' | 'tenant' | 'requestId' | 'attempts'>, atMs: number): Promise<boolean>
  /**
   * Notes what became of a delivery through a sink that is called while its message is held: one write. Once it counts
   * as delivered it stays so, while a failure is overwritten by a later success.
   */
  settled(
    delivered: Delivered,
    outcome: { status: Exclude<DeliveryStatus, 'pending'>; at: number; ms: number; error?: string },
  ): Promise<void>
}

/** Opens the deliveries. Every method answers within its deadline or throws AppError `storage_unavailable`. */
export function createDeliveries(deps: {
  cosmos: Cosmos
  clock: Clock
  logger: Logger
  /** How long settled rows are kept; for ever unless given. Pending ones are. */
  retentionSeconds?: number | undefined
}): Deliveries {
  const { clock, logger, retentionSeconds } = deps
  const lasting = retentionSeconds === undefined ? {} : { ttl: retentionSeconds }
  const fieldsOf = (next: Next): Partial<DeliveryRow> =>
    next.kind === 'again' ? outcomeOf(next) : { ...outcomeOf(next), ...lasting }
  const rows = deps.cosmos.rows<DeliveryRow>('deliveries')
  const writer = new RowWriter(rows)
  const keyOf = (row: Pick<DeliveryRow, 'tenant' | 'requestId'>) => [row.tenant, row.requestId]
  const now = () => isoTime(clock.now())
  const find = ({ event, target, ...ids }: Delivered) => rows.read(deliveryIdOf(event.id, target), keyOf(ids))

  const record: Deliveries['record'] = async (row, attempt, next) => {
    const outcome = await rows.patch({
      id: row.id,
      key: keyOf(row),
      when: condition`c.status = 'pending' AND ARRAY_LENGTH(c.attempts) = ${row.attempts.length}`,
      operations: [
        { op: 'add', path: '/attempts/-', value: attempt },
        ...Object.entries(fieldsOf(next)).map(([name, value]) => ({ op: 'set' as const, path: `/${name}`, value })),
        { op: 'set', path: '/updated_at', value: now() },
      ],
    })
    if (outcome.kind === 'patched') return outcome.row
    const { id, tenant, requestId } = row
    logger.info({ requestId, tenant, delivery: id, outcome: outcome.kind }, 'the attempt was not recorded')
    return undefined
  }
  const change = async (
    row: Pick<DeliveryRow, 'id' | 'tenant' | 'requestId' | 'attempts'>,
    from: 'pending' | 'settled',
    fields: Partial<DeliveryRow>,
  ) => {
    const length = row.attempts.length
    const outcome = await rows.patch({
      id: row.id,
      key: keyOf(row),
      when:
        from === 'pending'
          ? condition`c.status = 'pending' AND ARRAY_LENGTH(c.attempts) = ${length}`
          : condition`c.status != 'pending' AND ARRAY_LENGTH(c.attempts) = ${length}`,
      operations: Object.entries({ ...fields, updated_at: now() }).map(([name, value]) => ({
        op: 'set' as const,
        path: `/${name}`,
        value,
      })),
    })
    return outcome.kind === 'patched' ? outcome.row : undefined
  }

  return {
    ...deliveryQueries(rows),
    open: async (delivered, nextAttemptAtMs) => {
      const row = { ...newRow(delivered, now()), next_attempt_at: isoTime(nextAttemptAtMs) }
      if (await writer.create(row, keyOf(row), jsonOf(row, delivered))) return row
      const stored = await rows.read(row.id, keyOf(row))
      if (stored === undefined) throw new AppError('storage_unavailable', `${row.id} exists but cannot be read yet.`)
      return stored
    },
    conclude: async (delivered, attempt, next) => {
      const attempts = attempt === undefined ? [] : [attempt]
      const row = { ...newRow(delivered, now()), attempts, ...fieldsOf(next) }
      if (await writer.create(row, keyOf(row), jsonOf(row, delivered))) return row
      const stored = await rows.read(row.id, keyOf(row))
      if (stored?.status !== 'pending' || attempt === undefined) return undefined
      return record(stored, attempt, next)
    },
    get: (tenant, requestId, id) => rows.read(id, [tenant, requestId]),
    find,
    record,
    giveUp: async (row, reason) => (await change(row, 'pending', fieldsOf({ kind: 'failed', reason }))) !== undefined,
    postpone: (row, atMs) => change(row, 'pending', { next_attempt_at: isoTime(atMs) }),
    reopen: async (row, atMs) => {
      const again = outcomeOf({ kind: 'again', atMs })
      const fields = { ...again, replayed_from: row.attempts.length, ttl: -1 }
      return (await change(row, 'settled', fields)) !== undefined
    },
    settled: async (delivered, { status, at, ms, error }) => {
      const attempt: DeliveryAttempt = { at: isoTime(at), status: 0, ms, ...(error === undefined ? {} : { error }) }
      const outcome = { status, ...(error === undefined ? {} : { reason: error }), ...lasting }
      const row = { ...newRow(delivered, now()), ...outcome, attempts: [attempt] }
      if (await writer.create(row, keyOf(row))) return
      await rows.patch({
        id: row.id,
        key: keyOf(row),
        when: condition`c.status != 'delivered'`,
        operations: [
          { op: 'add', path: '/attempts/-', value: attempt },
          ...Object.entries({ ...outcome, updated_at: row.updated_at }).map(([name, value]) => ({
            op: 'set' as const,
            path: `/${name}`,
            value,
          })),
        ],
      })
    },
  }
}

function newRow({ tenant, requestId, event, target, fifoKey }: Delivered, at: string): DeliveryRow {
  return {
    id: deliveryIdOf(event.id, target),
    tenant,
    requestId,
    eventId: event.id,
    sink: target.type,
    target,
    ...('endpoint' in target ? { endpoint: target.endpoint } : {}),
    status: 'pending',
    event,
    attempts: [],
    ...(fifoKey === undefined ? {} : { fifo_key: fifoKey, fifo_order: `${event.time} ${event.id}` }),
    created_at: at,
    updated_at: at,
  }
}

/** The row's JSON around the event's, which is the most of it. */
function jsonOf(row: DeliveryRow, { eventJson }: Delivered): string | undefined {
  if (eventJson === undefined) return undefined
  return `${JSON.stringify({ ...row, event: undefined }).slice(0, -1)},"event":${eventJson}}`
}

function outcomeOf(next: Next): Partial<DeliveryRow> {
  switch (next.kind) {
    case 'again':
      return { status: 'pending', next_attempt_at: isoTime(next.atMs) }
    case 'delivered':
      return { status: 'delivered' }
    case 'failed':
      return { status: 'failed', reason: next.reason }
  }
}
