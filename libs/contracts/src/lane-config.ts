import { z } from 'zod'
import { priorities, tenantSchema } from './request-line.ts'

export const laneSchema = z.strictObject({
  priority: z.enum(priorities).optional().describe('the priority of a line that names none'),
  tenants: z.union([z.literal('*'), z.array(tenantSchema).min(1)]).describe('who may use the lane'),
  default_tenant: tenantSchema.optional().describe('the tenant of a line that names none'),
  sessions: z.boolean().default(false).describe('first in, first out within each conversation'),
  share: z.number().positive().max(1).describe("its part of a worker's slots; an idle part is lent to other lanes"),
  weight: z.number().positive().default(1).describe('its part of capacity that lanes compete for'),
  max_parked: z
    .int()
    .positive()
    .default(100_000)
    .describe('requests that may wait in the index; beyond them the queue is not received from'),
})
/** One queue of requests. */
export type Lane = z.infer<typeof laneSchema>
