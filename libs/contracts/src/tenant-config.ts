import { z } from 'zod'
import { priceSchema } from './deployment-config.ts'

/** Scores from which a request goes to the medium and to the large tier. */
export const thresholdsSchema = z
  .strictObject({ medium: z.number().min(0).max(1), large: z.number().min(0).max(1) })
  .refine(({ medium, large }) => medium <= large, { error: 'medium must not be above large', path: ['medium'] })
export type Thresholds = z.infer<typeof thresholdsSchema>

export const limitsSchema = z.strictObject({
  requests_per_minute: z.int().positive().optional(),
  tokens_per_minute: z.int().positive().optional(),
  concurrency: z.int().positive().optional().describe('requests in flight over all workers and doors'),
})
/** What a tenant or a key may use; absent means unlimited. */
export type Limits = z.infer<typeof limitsSchema>

export const budgetSchema = z.strictObject({
  day_usd: z.number().positive().optional().describe('a day in UTC'),
  month_usd: z.number().positive().optional().describe('a month in UTC'),
})
/** What a tenant may spend; absent means unlimited. */
export type Budget = z.infer<typeof budgetSchema>

export const tenantConfigSchema = z.strictObject({
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
  event_hub: z.string().min(1).optional().describe('its own hub; the configured one unless given'),
  weight: z.number().positive().default(1).describe('its part of a lane that tenants compete for'),
  max_share: z.number().positive().max(1).default(1).describe('the most of a lane that it may take while others wait'),
  thresholds: thresholdsSchema.optional().describe('its own instead of routing.thresholds'),
  cascade: z.boolean().optional().describe('its own instead of routing.cascade.enabled'),
  limits: limitsSchema.prefault({}),
  budget: budgetSchema.prefault({}),
  prices: z
    .record(z.string(), priceSchema)
    .default({})
    .describe('selling prices by model, `*` for every other: its margin is a metric'),
})
export type TenantConfig = z.infer<typeof tenantConfigSchema>
