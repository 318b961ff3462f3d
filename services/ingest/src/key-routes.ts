import { tenantSchema } from '@sluice/contracts'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { createKeySchema, type KeyAdmin, keyViewSchema, rotateKeySchema, updateKeySchema } from './key-admin.ts'
import { readBody, readQuery } from './read-input.ts'
import type { Routes } from './routes.ts'

const listQuery = z.object({ tenant: tenantSchema.optional().describe('for who operates the platform') })
const shown = { description: 'the key', schema: keyViewSchema }
const made = { description: 'the key, with its secret this one time', schema: keyViewSchema.required() }

const idOf = (request: FastifyRequest): string => (request.params as { id: string }).id

/** API keys of the caller's tenant; of every tenant for who operates the platform. */
export function keyRoutes(routes: Routes, keys: KeyAdmin): void {
  const route = { tag: 'keys', scope: 'admin' as const }
  routes.guarded(
    {
      ...route,
      method: 'POST',
      path: '/v1/keys',
      summary: 'Makes a key',
      body: { 'application/json': createKeySchema },
      answers: { 201: made },
    },
    async (caller, request, reply) =>
      reply.code(201).send(await keys.create(caller, readBody(createKeySchema, request))),
  )
  routes.guarded(
    {
      ...route,
      method: 'GET',
      path: '/v1/keys',
      summary: 'The keys of a tenant, the newest first',
      query: listQuery,
      answers: {
        200: {
          description: 'all of them',
          schema: z.object({ object: z.literal('list'), data: z.array(keyViewSchema) }),
        },
      },
    },
    async (caller, request) => {
      const { tenant = caller.tenant } = readQuery(listQuery, request)
      return { object: 'list', data: await keys.list(caller, tenant) }
    },
  )
  routes.guarded(
    { ...route, method: 'GET', path: '/v1/keys/:id', summary: 'A key', answers: { 200: shown } },
    (caller, request) => keys.get(caller, idOf(request)),
  )
  routes.guarded(
    {
      ...route,
      method: 'PATCH',
      path: '/v1/keys/:id',
      summary: 'Changes, disables or enables a key',
      body: { 'application/json': updateKeySchema },
      answers: { 200: shown },
    },
    (caller, request) => keys.update(caller, idOf(request), readBody(updateKeySchema, request)),
  )
  routes.guarded(
    {
      ...route,
      method: 'DELETE',
      path: '/v1/keys/:id',
      summary: 'Deletes a key',
      answers: { 204: { description: 'gone' } },
    },
    async (caller, request, reply) => {
      await keys.remove(caller, idOf(request))
      return reply.code(204).send()
    },
  )
  routes.guarded(
    {
      ...route,
      method: 'POST',
      path: '/v1/keys/:id/rotate',
      summary: 'Replaces a key; both work during the overlap',
      body: { 'application/json': rotateKeySchema },
      bodyRequired: false,
      answers: { 201: made },
    },
    async (caller, request, reply) => {
      const input = request.body === undefined ? rotateKeySchema.parse({}) : readBody(rotateKeySchema, request)
      return reply.code(201).send(await keys.rotate(caller, idOf(request), input.overlap_seconds))
    },
  )
}
