import { type Admission, type DeploymentState, quotaOf } from '@sluice/admission'
import type { Deployment, PlatformConfig } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { readBody } from './read-input.ts'
import type { Routes } from './routes.ts'

export interface AdminDeploymentsDeps {
  config: Pick<PlatformConfig, 'deployments'>
  admission: Pick<Admission, 'states' | 'drain' | 'undrain'>
  clock: Clock
}

const tag = 'operations'
const drainSchema = z.strictObject({
  reason: z.string().min(1).max(200).default('operator'),
  until_seconds: z
    .int()
    .positive()
    .max(7 * 24 * 3600)
    .optional()
    .describe('taken up again after this long'),
})
const drainedSchema = z.object({ reason: z.string(), until: z.string().nullable() })
const stateSchema = z.object({
  name: z.string(),
  model: z.string(),
  tier: z.string().nullable(),
  region: z.string(),
  kind: z.string(),
  breaker: z.enum(['closed', 'open', 'half_open', 'recovering']),
  breaker_since: z.string().nullable(),
  concurrency: z.object({ in_use: z.number(), limit: z.number().nullable(), max: z.number() }),
  tokens: z.object({ used: z.number(), per_minute: z.number() }),
  cooling_ms: z.number().describe('how long a refusal still keeps everybody away'),
  drained: drainedSchema.nullable(),
})
const orderedSchema = z.object({ name: z.string(), drained: drainedSchema.nullable() })

/** What operators see of the deployments, and how they take one out of service and back. */
export function adminDeploymentRoutes(routes: Routes, { config, admission, clock }: AdminDeploymentsDeps): void {
  const byName = new Map(config.deployments.map((deployment) => [deployment.name, deployment]))
  const named = (request: FastifyRequest): Deployment => {
    const { name } = request.params as { name: string }
    const deployment = byName.get(name)
    if (deployment === undefined) {
      throw new AppError('not_found', `There is no deployment named ${JSON.stringify(name)}.`, { param: 'name' })
    }
    return deployment
  }

  routes.guarded(
    {
      method: 'GET',
      path: '/admin/deployments',
      tag,
      summary: 'The deployments as all workers see them: breaker, slots, tokens, whether they are drained',
      scope: 'platform',
      answers: { 200: { description: 'in the configured order', schema: z.object({ data: z.array(stateSchema) }) } },
    },
    async () => {
      const states = await admission.states(config.deployments.map(quotaOf))
      const known = new Map(states.map((state) => [state.deployment, state]))
      return { data: config.deployments.map((deployment) => viewOf(deployment, known.get(deployment.name))) }
    },
  )

  routes.guarded(
    {
      method: 'POST',
      path: '/admin/deployments/:name/drain',
      tag,
      summary: 'Stops new calls of a deployment in every worker at once; what is in flight goes on',
      scope: 'platform',
      body: { 'application/json': drainSchema },
      bodyRequired: false,
      answers: { 200: { description: 'drained', schema: orderedSchema }, 404: { description: 'no such deployment' } },
    },
    async (_caller, request) => {
      const { name } = named(request)
      const order = request.body === undefined ? drainSchema.parse({}) : readBody(drainSchema, request)
      const { reason, until_seconds } = order
      const untilMs = until_seconds === undefined ? undefined : clock.now() + until_seconds * 1000
      await admission.drain(name, { reason, untilMs })
      return { name, drained: { reason, until: isoOf(untilMs) } }
    },
  )

  routes.guarded(
    {
      method: 'POST',
      path: '/admin/deployments/:name/undrain',
      tag,
      summary: 'Lets a drained deployment take calls again',
      scope: 'platform',
      answers: {
        200: { description: 'in service', schema: orderedSchema },
        404: { description: 'no such deployment' },
      },
    },
    async (_caller, request) => {
      const { name } = named(request)
      await admission.undrain(name)
      return { name, drained: null }
    },
  )
}

function viewOf(
  { name, model, tier, region, kind, quota, max_concurrency }: Deployment,
  state: DeploymentState | undefined,
) {
  const drained = state?.drained
  return {
    name,
    model,
    tier: tier ?? null,
    region,
    kind,
    breaker: state?.breaker ?? 'closed',
    breaker_since: isoOf(state?.breakerSinceMs),
    concurrency: { in_use: state?.slotsInUse ?? 0, limit: state?.concurrencyLimit ?? null, max: max_concurrency },
    tokens: { used: state?.usedTokens ?? 0, per_minute: quota.tokens_per_minute },
    cooling_ms: state?.coolForMs ?? 0,
    drained: drained === undefined ? null : { reason: drained.reason, until: isoOf(drained.untilMs) },
  }
}

const isoOf = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString())
