import { z } from 'zod'
import { priorities, tenantSchema, tierNames } from './request-line.ts'

/** US dollars per million tokens. */
const priceSchema = z.strictObject({
  input: z.number().nonnegative(),
  cached: z.number().nonnegative().optional(),
  output: z.number().nonnegative(),
})

const deploymentSchema = z.strictObject({
  name: z
    .string()
    .min(1)
    .describe('unique in Sluice; the deployment name sent to Azure unless `azure_name` says another'),
  azure_name: z.string().optional(),
  tier: z.enum(tierNames).optional().describe('absent: reachable by name only (embeddings, audio)'),
  model: z.string().min(1),
  region: z.string().min(1),
  kind: z.enum(['ptu', 'standard', 'spot', 'model-router']).default('standard'),
  endpoint: z.string().describe('base URL ending in /openai/v1; ${VAR} is taken from the environment'),
  api_key: z.string().describe('${VAR} is taken from the environment'),
  urls: z.array(z.string()).default(['/v1/chat/completions', '/v1/responses']),
  quota: z.strictObject({
    tokens_per_minute: z.int().positive(),
    requests_per_minute: z.int().positive(),
  }),
  context_tokens: z.int().positive().default(128_000),
  timeout_ms: z.int().positive().default(120_000),
  price: priceSchema,
})
/** One model deployment in one region, with its quota and price. */
export type Deployment = z.infer<typeof deploymentSchema>

const laneSchema = z.strictObject({
  priority: z.enum(priorities).optional().describe('the priority of a line that names none'),
  tenants: z.union([z.literal('*'), z.array(tenantSchema).min(1)]).describe('who may use the lane'),
  default_tenant: tenantSchema.optional().describe('the tenant of a line that names none'),
  slots: z.int().positive().max(1000).describe('requests in flight in one worker'),
})
/** One queue of requests. */
export type Lane = z.infer<typeof laneSchema>

const tenantConfigSchema = z.strictObject({
  webhooks: z
    .strictObject({
      secrets: z
        .array(z.string().regex(/^whsec_[A-Za-z0-9+/=]{32,}$/, 'a Standard Webhooks secret: whsec_ and base64'))
        .max(2)
        .default([])
        .describe('signing secrets, the newest first; two while one is being rotated'),
      allow_hosts: z.array(z.string()).default([]).describe('hosts that may be private or plain http: local receivers'),
    })
    .prefault({}),
  reply_queues: z.array(z.string()).default([]),
})

export const platformConfigSchema = z
  .strictObject({
    version: z.literal(1),
    routing: z.strictObject({
      thresholds: z
        .strictObject({ medium: z.number().min(0).max(1), large: z.number().min(0).max(1) })
        .describe('scores from which a tier is chosen'),
    }),
    deployments: z.array(deploymentSchema).min(1),
    lanes: z.record(z.string(), laneSchema),
    batches: laneSchema.pick({ tenants: true, default_tenant: true }).describe('who may use queue `batches`'),
    tenants: z.record(tenantSchema, tenantConfigSchema).default({}),
  })
  .check((context) => {
    const { deployments, routing, lanes, tenants } = context.value
    const complain = (path: (string | number)[], message: string) =>
      context.issues.push({ code: 'custom', input: context.value, path, message })
    const names = deployments.map((d) => d.name)
    const twice = names.findIndex((name, index) => names.indexOf(name) !== index)
    if (twice >= 0) complain(['deployments', twice, 'name'], `${names[twice]} is there twice`)
    if (routing.thresholds.medium > routing.thresholds.large) {
      complain(['routing', 'thresholds'], 'medium must not be above large')
    }
    for (const [tenant, config] of Object.entries(tenants)) {
      const lane = config.reply_queues.find((queue) => queue in lanes)
      if (lane !== undefined)
        complain(['tenants', tenant, 'reply_queues'], `${lane} is a lane: a result there would run again`)
    }
  })
/** config/sluice.yaml: deployments, tiers, lanes and tenants. */
export type PlatformConfig = z.infer<typeof platformConfigSchema>
