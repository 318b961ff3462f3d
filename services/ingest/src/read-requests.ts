import { isRequestId } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { type Deliveries, type Ledger, type Outbox, type Row, rowStatuses } from '@sluice/ledger'
import type { Parking } from '@sluice/parking'
import type { Progress } from '@sluice/progress'
import type { Blobs } from '@sluice/storage'
import type { Logger } from '@sluice/telemetry'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Caller } from './authenticate.ts'
import { awaitEnd } from './await-end.ts'
import { clientGone } from './client-gone.ts'
import { placeOf } from './place.ts'
import { readQuery } from './read-input.ts'
import { requestView } from './request-view.ts'
import type { Watchers } from './watchers.ts'

export interface ReadDeps {
  ledger: Ledger
  outbox: Outbox
  deliveries: Deliveries
  blobs: Blobs
  progress: Progress
  parking: Pick<Parking, 'place' | 'expect'>
  logger: Logger
  watchers: Watchers
  /** Aborts when the process stops and open answers should come to an end. */
  closing: AbortSignal
}

const linkTtlMs = 15 * 60 * 1000

// Another tenant's id is as unknown as one that was never given: both are a 404 of the same shape.
const unknown = () => new AppError('not_found', 'No such request.', { param: 'id' })

function idOf(request: FastifyRequest): string {
  const { id } = request.params as { id: string }
  if (!isRequestId(id)) throw unknown()
  return id
}

/** The request that the path names. @throws AppError `not_found` */
export async function findRequest({ ledger }: ReadDeps, caller: Caller, request: FastifyRequest): Promise<Row> {
  const row = await ledger.get(caller.tenant, idOf(request))
  if (row === undefined) throw unknown()
  return row
}

/** A request as the API shows it; a large answer as a link that works for a quarter of an hour. */
export async function shownRequest({ blobs, parking }: ReadDeps, row: Row): Promise<object> {
  const ref = row.result?.response?.body_ref
  if (row.result === undefined || row.result.response === null || ref === undefined) {
    return requestView(row, await placeOf(parking, row))
  }
  const body_ref = { ...ref, url: await blobs.readUrl(row.tenant, ref, linkTtlMs) }
  return requestView({ ...row, result: { ...row.result, response: { ...row.result.response, body_ref } } })
}

export const waitQuery = z.object({
  wait: z.coerce.number().int().min(0).max(60).default(0).describe('seconds to wait for the end'),
})

/** GET /v1/requests/{id}: status, decision and result, with `?wait=30` once it has ended or the time is over. */
export async function getRequest(
  deps: ReadDeps,
  caller: Caller,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<object> {
  const { wait } = readQuery(waitQuery, request)
  const row = await findRequest(deps, caller, request)
  if (wait === 0 || row.result !== undefined) return shownRequest(deps, row)
  const over = deps.watchers.enter(caller.tenant)
  try {
    const signal = AbortSignal.any([clientGone(reply), deps.closing])
    return await shownRequest(deps, await awaitEnd(deps, row, wait * 1000, signal))
  } finally {
    over()
  }
}

export const listQuery = z.object({
  status: z.enum(rowStatuses).optional(),
  lane: z.string().min(1).max(64).optional(),
  custom_id: z.string().min(1).max(512).optional(),
  since: z.iso.datetime({ offset: true }).optional().describe('accepted at or after'),
  until: z.iso.datetime({ offset: true }).optional().describe('accepted before'),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  continuation: z.string().max(512).optional().describe("a page's `continuation`, for the one after it"),
})

/** GET /v1/requests: the tenant's requests, the newest first. */
export async function listRequests({ ledger }: ReadDeps, caller: Caller, request: FastifyRequest): Promise<object> {
  const { custom_id: customId, ...query } = readQuery(listQuery, request)
  const { rows, continuation } = await ledger.list(caller.tenant, { ...query, customId })
  return {
    object: 'list',
    data: rows.map((row) => requestView(row)),
    has_more: continuation !== undefined,
    continuation: continuation ?? null,
  }
}

/** DELETE /v1/requests/{id}: cancels what has not started; asks the owner of what runs to stop. */
export async function cancelRequest(deps: ReadDeps, caller: Caller, request: FastifyRequest): Promise<object> {
  const { id } = await findRequest(deps, caller, request)
  const row = await deps.ledger.cancel(caller.tenant, id)
  if (row.result !== undefined) {
    deps.progress.publish(row.tenant, row.id, { kind: 'finished', status: row.result.sluice.status })
    // Should the topic be away, the sweeper publishes.
    await deps.outbox.publish(row).catch(() => {})
  }
  return requestView(row)
}
