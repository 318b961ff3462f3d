import {
  createEndpointSchema,
  type PlatformConfig,
  rotateSecretSchema,
  updateEndpointSchema,
  webhookUrlProblem,
} from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { EndpointRow, Endpoints } from '@sluice/ledger'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { readBody } from './read-input.ts'
import type { Routes } from './routes.ts'

const tag = 'webhooks'

const viewSchema = z.object({
  id: z.string(),
  object: z.literal('sluice.webhook_endpoint'),
  url: z.string(),
  event_types: z.array(z.string()),
  description: z.string().nullable(),
  fifo: z.enum(['endpoint', 'conversation']).nullable(),
  concurrency: z.int(),
  status: z.enum(['enabled', 'disabled']),
  disabled: z
    .object({ reason: z.enum(['requested', 'gone', 'failing']), at: z.string(), detail: z.string() })
    .nullable(),
  failing_since: z.string().nullable(),
  secret_overlap_until: z.string().nullable(),
  created_at: z.string(),
  updated_at: z.string(),
})
const withSecret = viewSchema.extend({ secret: z.string().describe('shown in this answer only') })

export interface WebhookEndpointDeps {
  config: PlatformConfig
  endpoints: Endpoints
}

/** /v1/webhook-endpoints: receivers that a tenant registers once, for every event that matches. */
export function webhookEndpointRoutes(routes: Routes, { config, endpoints }: WebhookEndpointDeps): void {
  const path = '/v1/webhook-endpoints'
  const one = `${path}/:id`
  const view = { description: 'the endpoint', schema: viewSchema }
  const checkUrl = (tenant: string, url: string | undefined) => {
    const problem = url === undefined ? undefined : webhookUrlProblem(config, tenant, url)
    if (problem !== undefined) throw new AppError('invalid_line', `url: ${problem}`, { param: 'url' })
  }

  routes.guarded(
    {
      method: 'POST',
      path,
      tag,
      summary: 'Registers a webhook endpoint; its secret is shown once',
      scope: 'admin',
      body: { 'application/json': createEndpointSchema },
      answers: { 201: { description: 'the endpoint and its secret', schema: withSecret } },
    },
    async ({ tenant }, request, reply) => {
      const input = readBody(createEndpointSchema, request)
      checkUrl(tenant, input.url)
      const { row, secret } = await endpoints.create(tenant, input)
      return reply
        .code(201)
        .header('location', `${path}/${row.id}`)
        .send({ ...viewOf(row), secret })
    },
  )
  routes.guarded(
    {
      method: 'GET',
      path,
      tag,
      summary: "The tenant's webhook endpoints",
      scope: 'read',
      answers: { 200: { description: 'the endpoints', schema: z.object({ data: z.array(viewSchema) }) } },
    },
    async ({ tenant }) => ({ object: 'list', data: (await endpoints.list(tenant)).map(viewOf) }),
  )
  routes.guarded(
    { method: 'GET', path: one, tag, summary: 'A webhook endpoint', scope: 'read', answers: { 200: view } },
    async ({ tenant }, request) => viewOf(known(await endpoints.get(tenant, idOf(request)))),
  )
  routes.guarded(
    {
      method: 'PATCH',
      path: one,
      tag,
      summary: 'Changes a webhook endpoint, disables it or enables it again',
      scope: 'admin',
      body: { 'application/json': updateEndpointSchema },
      answers: { 200: view },
    },
    async ({ tenant }, request) => {
      const input = readBody(updateEndpointSchema, request)
      checkUrl(tenant, input.url)
      return viewOf(known(await endpoints.update(tenant, idOf(request), input)))
    },
  )
  routes.guarded(
    {
      method: 'DELETE',
      path: one,
      tag,
      summary: 'Removes a webhook endpoint; what was not delivered fails',
      scope: 'admin',
      answers: { 204: { description: 'removed' } },
    },
    async ({ tenant }, request, reply) => {
      if (!(await endpoints.remove(tenant, idOf(request)))) throw unknown()
      return reply.code(204).send()
    },
  )
  routes.guarded(
    {
      method: 'POST',
      path: `${one}/rotate-secret`,
      tag,
      summary: 'A new secret; the old one signs as well for the overlap',
      scope: 'admin',
      body: { 'application/json': rotateSecretSchema },
      bodyRequired: false,
      answers: { 200: { description: 'the endpoint and its new secret', schema: withSecret } },
    },
    async ({ tenant }, request) => {
      const { overlap_seconds } =
        request.body === undefined || request.body === ''
          ? rotateSecretSchema.parse({})
          : readBody(rotateSecretSchema, request)
      const { row, secret } = await endpoints.rotate(tenant, idOf(request), overlap_seconds * 1000)
      return { ...viewOf(row), secret }
    },
  )
}

const idOf = (request: FastifyRequest): string => (request.params as { id: string }).id

// Another tenant's endpoint is as unknown as one that never was.
const unknown = () => new AppError('not_found', 'No such webhook endpoint.', { param: 'id' })

function known(row: EndpointRow | undefined): EndpointRow {
  if (row === undefined) throw unknown()
  return row
}

function viewOf(row: EndpointRow): z.infer<typeof viewSchema> {
  const { id, url, event_types, description, fifo, concurrency, status, disabled, failing_since } = row
  return {
    id,
    object: 'sluice.webhook_endpoint',
    url,
    event_types,
    description,
    fifo,
    concurrency,
    status,
    disabled,
    failing_since,
    secret_overlap_until: row.secrets[1]?.expires_at ?? null,
    created_at: row.created_at,
    updated_at: row.updated_at,
  }
}
