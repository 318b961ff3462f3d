import { z } from 'zod'

const batchEventNames = ['created', 'progress', 'completed', 'failed', 'expired', 'cancelled'] as const

/** OpenAI's batch object; what Sluice does not read passes through. */
export const batchObjectSchema = z.looseObject({
  id: z.string(),
  object: z.literal('batch'),
  endpoint: z.string(),
  input_file_id: z.string(),
  completion_window: z.string(),
  status: z.enum([
    'validating',
    'failed',
    'in_progress',
    'finalizing',
    'completed',
    'expired',
    'cancelling',
    'cancelled',
  ]),
  output_file_id: z.string().nullish(),
  error_file_id: z.string().nullish(),
  created_at: z.int().describe('seconds since 1970'),
  request_counts: z.object({ total: z.int(), completed: z.int(), failed: z.int() }),
  metadata: z.record(z.string(), z.string()).nullish(),
  sluice: z
    .looseObject({ tenant: z.string(), cost_usd: z.number().optional(), saved_usd: z.number().optional() })
    .describe('regions, cost and what was saved against online prices'),
})
export type BatchObject = z.infer<typeof batchObjectSchema>

/** A CloudEvents 1.0 event about a logical batch; its id is `<batchId>.<name>`, `<batchId>.progress.<n>` for progress. */
export const batchEventSchema = z.object({
  specversion: z.literal('1.0'),
  id: z.string(),
  type: z.enum(batchEventNames.map((name) => `sluice.batch.${name}` as const)),
  source: z.string().describe('/sluice/<tenant>'),
  subject: z.string().describe('the batch id'),
  time: z.iso.datetime(),
  datacontenttype: z.literal('application/json'),
  traceparent: z.string().optional(),
  data: batchObjectSchema,
})
export type BatchEvent = z.infer<typeof batchEventSchema>
