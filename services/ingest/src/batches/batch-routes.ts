import type { BudgetCheck } from '@sluice/admission'
import type { Batches } from '@sluice/batch'
import { deliverTargetSchema, batchObjectSchema } from '@sluice/contracts'
import { startSpan } from '@sluice/telemetry'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { readBody, readQuery } from '../read-input.ts'
import type { Routes } from '../routes.ts'
import { countSubmission, type SubmitLimits } from '../submit-limits.ts'
import { type Door, doors } from './doors.ts'
import { pageQuery } from './page-query.ts'

export interface BatchRoutesDeps {
  batches: Batches
  submitLimits: SubmitLimits
  checkBudget: BudgetCheck
}

const batchBody = z.looseObject({
  input_file_id: z.string().min(1).max(128),
  endpoint: z.string().min(1).max(128),
  completion_window: z.string().min(1).max(16).default('24h'),
  metadata: z.record(z.string(), z.string()).nullish(),
  sluice: z
    .strictObject({
      deadline: z.iso.datetime({ offset: true }).optional(),
      deliver: z.array(deliverTargetSchema).max(16).optional(),
      per_line_events: z.boolean().optional().describe('one result event a line, beside the events of the batch'),
    })
    .optional(),
})
const tag = 'batches'
const idempotency = z.object({ 'idempotency-key': z.string().min(1).max(255).optional() })
const one = {
  200: { description: 'the batch', schema: batchObjectSchema },
  404: { description: 'no such batch of this tenant' },
}

/** OpenAI's batch operations, on every door. */
export function batchRoutes(routes: Routes, deps: BatchRoutesDeps): void {
  for (const door of doors) routesOf(routes, door, deps)
}

function routesOf(routes: Routes, { prefix, sticky, documented }: Door, deps: BatchRoutesDeps): void {
  const { batches } = deps
  const undocumented = !documented
  const paths = [`${prefix}/batches`]
  // Where `AzureOpenAI` that was made for a deployment sends it; the lines name their models themselves.
  if (!prefix.endsWith('/v1')) paths.push(`${prefix}/deployments/:deployment/batches`)
  for (const path of paths) {
    routes.guarded(
      {
        method: 'POST',
        path,
        tag,
        summary: sticky ? "Starts a batch in its file's region" : 'Starts a batch, spread over regions',
        scope: 'submit',
        headers: idempotency,
        body: { 'application/json': batchBody },
        answers: { ...one, 409: { description: 'the Idempotency-Key stands for another batch' } },
        undocumented: undocumented || path !== paths[0],
      },
      async (caller, request, reply) => {
        const { tenant } = caller
        await countSubmission(deps.submitLimits, caller, reply)
        await deps.checkBudget(tenant)
        const { input_file_id, endpoint, completion_window, metadata, sluice = {} } = readBody(batchBody, request)
        const key = headerOf(request, 'idempotency-key')
        const parent = headerOf(request, 'traceparent')
        const span = startSpan('batch.submit', { ...(parent === undefined ? {} : { parent }), attributes: { tenant } })
        try {
          const batch = await batches.submit(tenant, {
            input_file_id,
            endpoint,
            completion_window,
            metadata,
            deadline: sluice.deadline,
            deliver: sluice.deliver,
            perLineEvents: sluice.per_line_events,
            ...(sticky ? { mode: 'sticky' as const } : {}),
            traceparent: span.traceparent,
            key,
          })
          span.end()
          return batch
        } catch (error) {
          span.end(error)
          throw error
        }
      },
    )
  }
  routes.guarded(
    {
      method: 'GET',
      path: `${prefix}/batches`,
      tag,
      summary: 'The batches of the tenant, the newest first',
      scope: 'read',
      query: pageQuery,
      answers: {
        200: { description: 'a page', schema: z.object({ data: z.array(batchObjectSchema), has_more: z.boolean() }) },
      },
      undocumented,
    },
    async ({ tenant }, request) => {
      const { data, has_more } = await batches.list(tenant, readQuery(pageQuery, request))
      return { object: 'list', data, has_more, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null }
    },
  )
  routes.guarded(
    {
      method: 'GET',
      path: `${prefix}/batches/:id`,
      tag,
      summary: 'A batch',
      scope: 'read',
      answers: one,
      undocumented,
    },
    async ({ tenant }, request) => batches.get(tenant, idOf(request)),
  )
  routes.guarded(
    {
      method: 'POST',
      path: `${prefix}/batches/:id/cancel`,
      tag,
      summary: 'Cancels a batch; what is done stays',
      scope: 'submit',
      answers: one,
      undocumented,
    },
    async ({ tenant }, request) => batches.cancel(tenant, idOf(request)),
  )
}

const idOf = (request: FastifyRequest): string => (request.params as { id: string }).id

function headerOf(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}
