import { randomUUID } from 'node:crypto'
import { checkDeliverTargets, decodeLine, type PlatformConfig, type Priority } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { type Ledger, rowMessage } from '@sluice/ledger'
import type { Sender } from '@sluice/messaging'
import { type Logger, startSpan } from '@sluice/telemetry'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Caller } from './api-keys.ts'
import { requestView } from './request-view.ts'

export interface SubmitDeps {
  config: PlatformConfig
  ledger: Ledger
  lanes: ReadonlyMap<string, Sender>
  logger: Logger
  bodyLimit: number
  sendDeadlineMs: number
}

/**
 * POST /v1/requests: the row is stored, then its message is sent, then 202. From the row on the request is safe: a
 * message that was not sent is sent by a sweeper, so a 503 means "outcome unknown, ask again with the same key".
 */
export async function submitRequest(
  deps: SubmitDeps,
  caller: Caller,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const { config, ledger } = deps
  const key = idempotencyKey(request) ?? randomUUID()
  const line = decodeLine(request.body as string, deps.bodyLimit)
  const tenant = line.sluice?.tenant ?? caller.tenant
  if (tenant !== caller.tenant) {
    throw new AppError('tenant_not_allowed', 'sluice.tenant: this key belongs to another tenant', {
      param: 'sluice.tenant',
    })
  }
  checkDeliverTargets(config, tenant, line.sluice?.deliver)
  const lane = laneFor(config, tenant, line.sluice?.priority ?? 'standard')
  const sender = deps.lanes.get(lane)
  if (sender === undefined) throw new AppError('internal', `no sender for ${lane}`)

  const span = startSpan('submit', { ...parentOf(request), attributes: { tenant, lane } })
  try {
    const { row, created } = await ledger.accept({
      tenant,
      key,
      line,
      lane,
      via: 'http',
      traceparent: span.traceparent,
    })
    deps.logger.info({ requestId: row.id, tenant, lane, created }, 'accepted')
    // A repeated submission finds its row; whether its message was ever sent is the sweeper's business.
    if (created) await sender.send(rowMessage(row), AbortSignal.timeout(deps.sendDeadlineMs))
    span.end()
    await reply
      .code(202)
      .header('location', `/v1/requests/${row.id}`)
      .header('traceparent', span.traceparent)
      .send(requestView(row))
  } catch (error) {
    span.end(error)
    throw error
  }
}

/** The first lane of that priority which serves the tenant. */
function laneFor(config: PlatformConfig, tenant: string, priority: Priority): string {
  const open = Object.entries(config.lanes).find(
    ([, lane]) => lane.priority === priority && (lane.tenants === '*' || lane.tenants.includes(tenant)),
  )
  if (open === undefined) {
    throw new AppError('tenant_not_allowed', `sluice.priority: no ${priority} lane serves this tenant`, {
      param: 'sluice.priority',
    })
  }
  return open[0]
}

function idempotencyKey(request: FastifyRequest): string | undefined {
  const header = request.headers['idempotency-key']
  if (header === undefined) return undefined
  if (typeof header !== 'string' || !/^[\x20-\x7e]{1,255}$/.test(header)) {
    throw new AppError('invalid_line', 'Idempotency-Key: 1 to 255 printable characters', { param: 'Idempotency-Key' })
  }
  return header
}

function parentOf(request: FastifyRequest): { parent?: string } {
  const { traceparent } = request.headers
  return typeof traceparent === 'string' ? { parent: traceparent } : {}
}
