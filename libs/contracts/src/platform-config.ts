import { z } from 'zod'
import { accessConfigSchema } from './access-config.ts'
import { batchConfigSchema } from './batch-config.ts'
import { deploymentSchema, priceSchema } from './deployment-config.ts'
import { laneSchema } from './lane-config.ts'
import { cacheConfigSchema, routingConfigSchema } from './routing-config.ts'
import { tenantSchema } from './request-line.ts'
import { tenantConfigSchema } from './tenant-config.ts'

export const platformConfigSchema = z
  .strictObject({
    version: z.literal(1),
    routing: routingConfigSchema,
    cache: cacheConfigSchema.prefault({}),
    deployments: z.array(deploymentSchema).min(1),
    prices: z.record(z.string(), priceSchema).default({}).describe('by model, for what a model-router chose'),
    slots: z.int().positive().max(2000).default(64).describe('requests in flight in one worker'),
    lanes: z.record(z.string(), laneSchema),
    batches: laneSchema.pick({ tenants: true, default_tenant: true }).describe('who may use queue `batches`'),
    batch: batchConfigSchema.prefault({}),
    access: accessConfigSchema.prefault({}),
    tenants: z.record(tenantSchema, tenantConfigSchema).default({}),
  })
  .check((context) => {
    const { deployments, lanes, tenants, routing } = context.value
    const complain = (path: (string | number)[], message: string) =>
      context.issues.push({ code: 'custom', input: context.value, path, message })
    const names = deployments.map((d) => d.name)
    const twice = names.findIndex((name, index) => names.indexOf(name) !== index)
    if (twice >= 0) complain(['deployments', twice, 'name'], `${names[twice]} is there twice`)
    const known = new Set([...names, ...deployments.map((d) => d.model)])
    for (const [alias, targets] of Object.entries(routing.aliases)) {
      const missing = [targets].flat().find((target) => !known.has(target))
      if (missing !== undefined)
        complain(['routing', 'aliases', alias], `${missing} is neither a model nor a deployment's name`)
    }
    const shares = Object.values(lanes).reduce((sum, { share }) => sum + share, 0)
    if (shares > 1.000_001) complain(['lanes'], `the shares of all lanes add up to ${shares.toFixed(2)}, more than 1`)
    for (const [tenant, config] of Object.entries(tenants)) {
      const lane = config.reply_queues.find((queue) => queue in lanes)
      if (lane !== undefined)
        complain(['tenants', tenant, 'reply_queues'], `${lane} is a lane: a result there would run again`)
    }
  })
/** config/sluice.yaml: deployments, tiers, lanes and tenants. */
export type PlatformConfig = z.infer<typeof platformConfigSchema>
