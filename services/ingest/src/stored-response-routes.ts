import type { ResponsePins } from '@sluice/execution'
import type { StoredResponseCall, StoredResponses } from '@sluice/models'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Caller } from './authenticate.ts'
import { clientGone } from './client-gone.ts'
import type { RouteSpec, Routes } from './routes.ts'

export interface StoredResponseDeps {
  pins: Pick<ResponsePins, 'find'>
  storedResponses: StoredResponses
}

const prefixes = [
  '/v1',
  '/openai/v1',
  '/openai',
  '/openai-realtime/v1',
  '/openai-realtime',
  '/openai-realtime/openai/v1',
  '/openai-realtime/openai',
]

const responseSchema = z.looseObject({ id: z.string(), object: z.literal('response') })
const itemsSchema = z.looseObject({ object: z.literal('list'), data: z.array(z.looseObject({})) })
const deletedSchema = z.looseObject({ id: z.string(), deleted: z.boolean() })
const unknown = { 404: { description: 'no response that this tenant made and that is still remembered' } }

/**
 * Responses by their ids, from the resource that made them. Only a response that is known to be the tenant's own is asked
 * for: the provider knows nothing of tenants.
 */
export function storedResponseRoutes(routes: Routes, deps: StoredResponseDeps): void {
  for (const [index, prefix] of prefixes.entries()) {
    const add = (
      spec: Pick<RouteSpec, 'summary' | 'answers'>,
      method: StoredResponseCall['method'],
      part?: '/input_items',
    ) => {
      const path = `${prefix}/responses/:id${part ?? ''}`
      routes.guarded(
        { ...spec, method, path, tag: 'openai', scope: 'submit', undocumented: index > 0 },
        (caller, request, reply) =>
          pass(deps, { method, ...(part === undefined ? {} : { part }) }, caller, request, reply),
      )
    }
    const json = (description: string, schema: z.ZodType) => ({ 200: { description, schema }, ...unknown })
    add({ summary: 'A stored response', answers: json('the response', responseSchema) }, 'GET')
    add({ summary: 'What it answered', answers: json('a page of items', itemsSchema) }, 'GET', '/input_items')
    add({ summary: 'Deletes a stored response', answers: json('deleted', deletedSchema) }, 'DELETE')
  }
}

async function pass(
  { pins, storedResponses }: StoredResponseDeps,
  asked: Pick<StoredResponseCall, 'method' | 'part'>,
  { tenant }: Caller,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { id } = request.params as { id: string }
  const deployment = await pins.find(tenant, id)
  const { searchParams: query } = new URL(request.url, 'http://sluice')
  // Sluice calls the version that its deployments are configured with.
  query.delete('api-version')
  const call = { ...asked, id, query, requestId: request.id, signal: clientGone(reply) }
  const { headers, body } = await storedResponses.call(deployment, call)
  void reply.header('x-sluice-deployment', deployment.name).header('x-sluice-region', deployment.region)
  if (headers['content-length'] !== undefined) void reply.header('content-length', headers['content-length'])
  return reply.type(String(headers['content-type'] ?? 'application/json')).send(body)
}
