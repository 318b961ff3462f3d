import { Readable } from 'node:stream'
import { requestLineSchema } from '@sluice/contracts'
import { z } from 'zod'
import type { SubmitDeps } from './enqueue-line.ts'
import { cancelRequest, getRequest, listQuery, listRequests, type ReadDeps, waitQuery } from './read-requests.ts'
import { requestEvents } from './request-events.ts'
import { requestViewSchema } from './request-view.ts'
import type { Routes } from './routes.ts'
import { submitLines } from './submit-lines.ts'
import { submitRequest } from './submit-request.ts'

const tag = 'requests'
const view = { description: 'the request', schema: requestViewSchema }
const idempotency = z.object({ 'idempotency-key': z.string().min(1).max(255).optional() })
const lineFate = z
  .object({
    index: z.int(),
    status: z.int(),
    request: z.looseObject({}).optional(),
    error: z.looseObject({}).optional(),
  })
  .describe('one line of the answer: what became of the line with that index')

/** The asynchronous API: a line in, a request to ask after. */
export function requestRoutes(routes: Routes, deps: SubmitDeps & ReadDeps): void {
  routes.guarded(
    {
      method: 'POST',
      path: '/v1/requests',
      tag,
      summary: 'Queues one line, or many as NDJSON',
      scope: 'submit',
      headers: idempotency,
      body: {
        'application/json': requestLineSchema,
        'application/x-ndjson': undefined,
        'application/jsonl': undefined,
      },
      answers: {
        202: { description: 'one line: accepted', schema: requestViewSchema },
        207: {
          description: 'many lines: each with its own status',
          schema: lineFate,
          contentType: 'application/x-ndjson',
        },
        409: { description: 'the key stands for another request' },
      },
    },
    (caller, request, reply) =>
      request.body instanceof Readable
        ? submitLines(deps, caller, request, reply)
        : submitRequest(deps, caller, request, reply),
  )
  routes.guarded(
    {
      method: 'GET',
      path: '/v1/requests',
      tag,
      summary: 'The requests of the tenant, the newest first',
      scope: 'read',
      query: listQuery,
      answers: {
        200: {
          description: 'a page',
          schema: z.object({
            object: z.literal('list'),
            data: z.array(requestViewSchema),
            has_more: z.boolean(),
            continuation: z.string().nullable(),
          }),
        },
      },
    },
    (caller, request) => listRequests(deps, caller, request),
  )
  routes.guarded(
    {
      method: 'GET',
      path: '/v1/requests/:id',
      tag,
      summary: 'A request, on demand once it has ended',
      scope: 'read',
      query: waitQuery,
      answers: { 200: view, 404: { description: 'no such request of this tenant' } },
    },
    (caller, request, reply) => getRequest(deps, caller, request, reply),
  )
  routes.guarded(
    {
      method: 'GET',
      path: '/v1/requests/:id/events',
      tag,
      summary: 'What happens to a request, as server-sent events: queued, started, delta, finished',
      scope: 'read',
      headers: z.object({ 'last-event-id': z.string().optional() }),
      answers: { 200: { description: 'events', contentType: 'text/event-stream' } },
    },
    (caller, request, reply) => requestEvents(deps, caller, request, reply),
  )
  routes.guarded(
    {
      method: 'DELETE',
      path: '/v1/requests/:id',
      tag,
      summary: 'Cancels a request, also one in flight',
      scope: 'submit',
      answers: { 200: view },
    },
    (caller, request) => cancelRequest(deps, caller, request),
  )
}
