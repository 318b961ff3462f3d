import { z } from 'zod'
import { priorities } from './request-line.ts'
import { thresholdsSchema } from './tenant-config.ts'

export const routingConfigSchema = z.strictObject({
  thresholds: thresholdsSchema,
  balancing: z
    .enum(['least_utilised', 'weighted', 'round_robin'])
    .default('least_utilised')
    .describe('how requests spread over the deployments of one tier and kind'),
  spill: z
    .array(z.enum(priorities))
    .default([...priorities])
    .describe('which priorities may leave full provisioned capacity for pay-as-you-go'),
  aliases: z
    .record(z.string(), z.union([z.string(), z.array(z.string()).min(1)]))
    .default({})
    .describe('names for models or deployments; a list is a pool'),
  cascade: z
    .strictObject({
      enabled: z
        .boolean()
        .default(false)
        .describe('a lower tier answers first and a judge decides whether to escalate'),
      confidence: z.number().min(0).max(1).default(0.6).describe('below it an answer is given to the next tier'),
      min_slack_ms: z
        .int()
        .nonnegative()
        .default(5_000)
        .describe('no cascade with less time than this to the deadline'),
      from_score: z.number().min(0).max(1).default(0.1),
      to_score: z.number().min(0).max(1).default(0.75).describe('above it the scored tier is called at once'),
      agreement: z
        .boolean()
        .default(false)
        .describe('an answer just below `confidence` is asked for once more and stands when both agree'),
    })
    .prefault({}),
  breaker: z
    .strictObject({
      failures: z.int().positive().default(5).describe('failures in a row after which a deployment is left alone'),
      failure_rate: z
        .number()
        .positive()
        .max(1)
        .default(0.5)
        .describe('or this part of the calls of half a minute, of twenty at least'),
      open_ms: z
        .int()
        .positive()
        .default(5_000)
        .describe('how long; doubled with each failed recovery, up to a minute'),
      recover_ms: z.int().min(10).default(30_000).describe('from a tenth of its limits back to all of them'),
    })
    .prefault({}),
})

export const cacheConfigSchema = z.strictObject({
  exact_ttl_seconds: z
    .int()
    .positive()
    .default(24 * 3600),
  semantic_ttl_seconds: z
    .int()
    .positive()
    .default(24 * 3600),
  threshold: z
    .number()
    .min(0)
    .max(1)
    .default(0.95)
    .describe('cosine similarity from which a prompt counts as the same'),
  embedding_model: z.string().optional().describe('model, alias or deployment; absent: `semantic` works like `exact`'),
  max_entry_bytes: z
    .int()
    .positive()
    .default(1024 * 1024),
})
export type CacheConfig = z.infer<typeof cacheConfigSchema>
