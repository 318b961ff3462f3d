import { isRequestId } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Deliveries, Ledger, Outbox, Row } from '@sluice/ledger'
import type { Blobs } from '@sluice/storage'
import type { FastifyRequest } from 'fastify'
import type { Caller } from './api-keys.ts'
import { requestView } from './request-view.ts'

export interface ReadDeps {
  ledger: Ledger
  outbox: Outbox
  deliveries: Deliveries
  blobs: Blobs
}

const linkTtlMs = 15 * 60 * 1000

// Another tenant's id is as unknown as one that was never given: both are a 404 of the same shape.
const unknown = () => new AppError('not_found', 'No such request.', { param: 'id' })

function idOf(request: FastifyRequest): string {
  const { id } = request.params as { id: string }
  if (!isRequestId(id)) throw unknown()
  return id
}

async function found({ ledger }: ReadDeps, caller: Caller, request: FastifyRequest): Promise<Row> {
  const row = await ledger.get(caller.tenant, idOf(request))
  if (row === undefined) throw unknown()
  return row
}

/** GET /v1/requests/{id}: status, decision and result; a large answer as a link that works for a quarter of an hour. */
export async function getRequest(deps: ReadDeps, caller: Caller, request: FastifyRequest): Promise<object> {
  const row = await found(deps, caller, request)
  const ref = row.result?.response?.body_ref
  if (row.result === undefined || row.result.response === null || ref === undefined) return requestView(row)
  const body_ref = { ...ref, url: await deps.blobs.readUrl(row.tenant, ref, linkTtlMs) }
  return requestView({ ...row, result: { ...row.result, response: { ...row.result.response, body_ref } } })
}

/** DELETE /v1/requests/{id}: cancels what has not started; asks the owner of what runs to stop. */
export async function cancelRequest(deps: ReadDeps, caller: Caller, request: FastifyRequest): Promise<object> {
  await found(deps, caller, request)
  const row = await deps.ledger.cancel(caller.tenant, idOf(request))
  // Should the topic be away, the sweeper publishes.
  if (row.result !== undefined) await deps.outbox.publish(row).catch(() => {})
  return requestView(row)
}

/** GET /v1/requests/{id}/deliveries: every target with every attempt. */
export async function listDeliveries(deps: ReadDeps, caller: Caller, request: FastifyRequest): Promise<object> {
  const row = await found(deps, caller, request)
  const rows = await deps.deliveries.listFor(caller.tenant, row.id)
  return {
    object: 'list',
    data: rows.map(({ id, sink, target, status, attempts, next_attempt_at }) => ({
      id,
      object: 'sluice.delivery',
      sink,
      target,
      status,
      attempts,
      next_attempt_at: next_attempt_at ?? null,
    })),
  }
}
