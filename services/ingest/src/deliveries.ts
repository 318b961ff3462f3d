import { replaySchema } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Deliveries, DeliveryRow, Ledger } from '@sluice/ledger'
import type { Sender } from '@sluice/messaging'
import type { Clock } from '@sluice/resilience'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Caller } from './authenticate.ts'
import { readBody, readQuery } from './read-input.ts'
import { replayDelivery } from './replay-delivery.ts'
import type { Routes } from './routes.ts'

const tag = 'webhooks'

const viewSchema = z.object({
  id: z.string(),
  object: z.literal('sluice.delivery'),
  request_id: z.string().describe('the request, batch or endpoint that the event is about'),
  event: z.object({ id: z.string(), type: z.string(), time: z.string() }),
  sink: z.string(),
  target: z.looseObject({}),
  status: z.enum(['pending', 'delivered', 'failed']),
  reason: z.string().nullable().describe('why it failed for good'),
  attempts: z.array(z.looseObject({ at: z.string(), status: z.int(), ms: z.number() })),
  next_attempt_at: z.string().nullable(),
  created_at: z.string(),
  updated_at: z.string(),
})
const listSchema = z.object({ data: z.array(viewSchema) })
const listQuery = z.object({
  status: z.enum(['pending', 'delivered', 'failed']).default('failed'),
  endpoint: z.string().max(64).optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  after: z.string().max(1024).optional().describe('`next` of the page before'),
})

export interface DeliveryDeps {
  ledger: Ledger
  deliveries: Deliveries
  /** The topic, for sinks that are replayed by publishing again. */
  results: Pick<Sender, 'send'>
  clock: Clock
}

/** One call replays no longer than that; the caller asks again for the rest. */
const replayMs = 15_000

/** What became of events at their targets, and another try for what failed. */
export function deliveryRoutes(routes: Routes, deps: DeliveryDeps): void {
  const { deliveries, clock } = deps
  routes.guarded(
    {
      method: 'GET',
      path: '/v1/requests/:id/deliveries',
      tag,
      summary: 'Every target of a request with every attempt',
      scope: 'read',
      answers: { 200: { description: 'the deliveries', schema: listSchema } },
    },
    async ({ tenant }, request) => {
      const { id } = paramsOf(request)
      const rows = await deliveries.listFor(tenant, id)
      // A request without targets has no deliveries; only one that is not there is unknown.
      if (rows.length === 0 && (await deps.ledger.get(tenant, id)) === undefined) throw unknown('No such request.')
      return { object: 'list', data: rows.map(viewOf) }
    },
  )
  routes.guarded(
    {
      method: 'POST',
      path: '/v1/requests/:id/deliveries/:delivery/replay',
      tag,
      summary: 'Delivers an event again',
      scope: 'submit',
      answers: { 202: { description: 'the delivery, pending again', schema: viewSchema } },
    },
    async (caller, request, reply) => reply.code(202).send(await replayOne(deps, caller, request)),
  )
  routes.guarded(
    {
      method: 'GET',
      path: '/v1/deliveries',
      tag,
      summary: 'Deliveries by status, the latest change first: the dead letters unless asked otherwise',
      scope: 'read',
      query: listQuery,
      answers: { 200: { description: 'a page', schema: listSchema.extend({ next: z.string().nullable() }) } },
    },
    async ({ tenant }, request) => {
      const { after, ...query } = readQuery(listQuery, request)
      const { rows, continuation } = await deliveries.list(tenant, { ...query, continuation: after })
      return { object: 'list', data: rows.map(viewOf), next: continuation ?? null }
    },
  )
  routes.guarded(
    {
      method: 'POST',
      path: '/v1/deliveries/replay',
      tag,
      summary: 'Delivers again what failed at or after a time',
      scope: 'submit',
      body: { 'application/json': replaySchema },
      answers: {
        202: {
          description: 'how many, and whether there are more',
          schema: z.object({ object: z.literal('sluice.replay'), replayed: z.int(), remaining: z.boolean() }),
        },
      },
    },
    async ({ tenant }, request, reply) => {
      const { since, endpoint } = readBody(replaySchema, request)
      const from = new Date(since).toISOString()
      const until = clock.monotonic() + replayMs
      let replayed = 0
      let continuation: string | undefined
      do {
        const page = await deliveries.list(tenant, { status: 'failed', endpoint, limit: 100, continuation })
        const due = page.rows.filter(({ updated_at }) => updated_at >= from)
        const done = await Promise.all(due.map((row) => replayDelivery(deps, row)))
        replayed += done.filter(Boolean).length
        continuation = due.length < page.rows.length ? undefined : page.continuation
      } while (continuation !== undefined && clock.monotonic() < until)
      return reply.code(202).send({ object: 'sluice.replay', replayed, remaining: continuation !== undefined })
    },
  )
}

async function replayOne(deps: DeliveryDeps, { tenant }: Caller, request: FastifyRequest): Promise<object> {
  const { id, delivery } = paramsOf(request)
  const row = await deps.deliveries.get(tenant, id, delivery)
  if (row === undefined) throw unknown('No such delivery.')
  if (row.status === 'pending') throw new AppError('conflict', 'The delivery is still under way.')
  if (!(await replayDelivery(deps, row))) {
    throw new AppError('conflict', 'The delivery changed meanwhile, or was attempted too often.')
  }
  return viewOf((await deps.deliveries.get(tenant, id, delivery)) ?? row)
}

const paramsOf = (request: FastifyRequest) => request.params as { id: string; delivery: string }

const unknown = (message: string) => new AppError('not_found', message, { param: 'id' })

function viewOf(row: DeliveryRow) {
  const { id, requestId, event, sink, target, status, reason, attempts, next_attempt_at } = row
  return {
    id,
    object: 'sluice.delivery' as const,
    request_id: requestId,
    event: { id: event.id, type: event.type, time: event.time },
    sink,
    target,
    status,
    reason: status === 'failed' ? (reason ?? null) : null,
    attempts,
    next_attempt_at: status === 'pending' ? (next_attempt_at ?? null) : null,
    created_at: row.created_at,
    updated_at: row.updated_at,
  }
}
