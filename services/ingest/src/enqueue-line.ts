import type { BudgetCheck } from '@sluice/admission'
import { randomUUID } from 'node:crypto'
import { checkDeliverTargets, type PlatformConfig, type RequestLine } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { type Ledger, type Row, rowMessage } from '@sluice/ledger'
import type { Sender } from '@sluice/messaging'
import type { Parking } from '@sluice/parking'
import type { Progress } from '@sluice/progress'
import { checkBlobName } from '@sluice/storage'
import { type Logger, startSpan } from '@sluice/telemetry'
import type { FastifyRequest } from 'fastify'
import type { Caller } from './authenticate.ts'
import type { HeldBodies } from './held-bodies.ts'
import type { SubmitLimits } from './submit-limits.ts'

export interface SubmitDeps {
  config: PlatformConfig
  ledger: Ledger
  lanes: ReadonlyMap<string, Sender>
  progress: Progress
  parking: Pick<Parking, 'place' | 'expect'>
  submitLimits: SubmitLimits
  checkBudget: BudgetCheck
  logger: Logger
  bodies: HeldBodies
  /** Bytes of one line. */
  bodyLimit: number
  /** Bytes of a multipart body. */
  formLimit: number
  sendDeadlineMs: number
}

export interface Enqueued {
  row: Row
  /** False: the same request was there already. */
  created: boolean
  traceparent: string
}

/**
 * Stores a line as a request of the caller's tenant, then sends its message. From the row on the request is safe: a
 * message that was not sent is sent by a sweeper, so `queue_unavailable` means "outcome unknown, ask again with the
 * same key".
 * Whoever calls this has counted the submission, see {@link countSubmission}.
 * @throws AppError as the line's checks, the ledger and the queue do
 */
export async function enqueueLine(
  deps: SubmitDeps,
  caller: Caller,
  line: RequestLine,
  { key, parent }: { key?: string | undefined; parent?: string | undefined },
): Promise<Enqueued> {
  const { config, ledger } = deps
  const tenant = line.sluice?.tenant ?? caller.tenant
  if (tenant !== caller.tenant) {
    throw new AppError('tenant_not_allowed', 'sluice.tenant: this key belongs to another tenant', {
      param: 'sluice.tenant',
    })
  }
  await deps.checkBudget(tenant)
  checkDeliverTargets(config, tenant, line.sluice?.deliver)
  if (line.body_ref !== undefined) checkBlobName(tenant, line.body_ref.blob)
  if (line.file_ref !== undefined) checkBlobName(tenant, line.file_ref.blob)
  const lane = laneFor(config, tenant, line)
  const sender = deps.lanes.get(lane)
  if (sender === undefined) throw new AppError('internal', `no sender for ${lane}`)

  const span = startSpan('submit', { parent, attributes: { tenant, lane } })
  try {
    const arrival = { tenant, key: key ?? randomUUID(), line, lane, via: 'http' as const, keyLimits: limitsOf(caller) }
    const { row, created } = await ledger.accept({ ...arrival, traceparent: span.traceparent })
    deps.logger.info({ requestId: row.id, tenant, lane, created }, 'accepted')
    // A repeated submission finds its row; whether its message was ever sent is the sweeper's business.
    if (created) {
      const signalr = line.sluice?.deliver?.filter((target) => target.type === 'signalr')
      deps.progress.publish(tenant, row.id, { kind: 'queued', lane }, { signalr })
      await sender.send(rowMessage(row), AbortSignal.timeout(deps.sendDeadlineMs))
    }
    span.end()
    return { row, created, traceparent: span.traceparent }
  } catch (error) {
    span.end(error)
    throw error
  }
}

/** What a worker counts a request by besides its tenant; undefined for a key without limits, as most are. */
const limitsOf = ({ principal, limits }: Caller) =>
  Object.values(limits).every((limit) => limit === undefined) ? undefined : { principal, ...limits }

/**
 * The lane of a line: one with sessions for a line that belongs to a conversation, so that its turns stay in order; else
 * the first of the line's priority. Only lanes that serve the tenant count.
 */
function laneFor({ lanes }: PlatformConfig, tenant: string, { sluice }: RequestLine): string {
  const priority = sluice?.priority ?? 'standard'
  const open = Object.entries(lanes).filter(([, lane]) => lane.tenants === '*' || lane.tenants.includes(tenant))
  const ordered = sluice?.conversation === undefined ? undefined : open.find(([, lane]) => lane.sessions)
  const found = ordered ?? open.find(([, lane]) => !lane.sessions && lane.priority === priority)
  if (found === undefined) {
    throw new AppError('tenant_not_allowed', `sluice.priority: no ${priority} lane serves this tenant`, {
      param: 'sluice.priority',
    })
  }
  return found[0]
}

/** @throws AppError `invalid_line` */
export function idempotencyKey(request: FastifyRequest): string | undefined {
  const header = request.headers['idempotency-key']
  if (header === undefined) return undefined
  if (typeof header !== 'string' || !/^[\x20-\x7e]{1,255}$/.test(header)) {
    throw new AppError('invalid_line', 'Idempotency-Key: 1 to 255 printable characters', { param: 'Idempotency-Key' })
  }
  return header
}

/** The caller's own trace, when it sent one. */
export function traceparentOf(request: FastifyRequest): string | undefined {
  const { traceparent } = request.headers
  return typeof traceparent === 'string' ? traceparent : undefined
}
