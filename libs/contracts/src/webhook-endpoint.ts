import { z } from 'zod'

const eventFilter = z
  .string()
  .regex(
    /^(\*|sluice\.(request|batch|endpoint)\.(\*|[a-z_]{1,32}))$/,
    'an event type such as sluice.request.succeeded, or sluice.request.*, or *',
  )

const fields = {
  url: z.url({ protocol: /^https?$/ }).max(2048),
  event_types: z.array(eventFilter).min(1).max(32),
  description: z.string().max(256),
  fifo: z
    .enum(['endpoint', 'conversation'])
    .nullable()
    .describe('one event at a time, in order: of the whole endpoint, or of each conversation; null: in any order'),
  concurrency: z.int().min(1).max(256).describe('calls in flight from one notifier'),
}

/** POST /v1/webhook-endpoints. */
export const createEndpointSchema = z.strictObject({
  url: fields.url,
  event_types: fields.event_types.default(['*']),
  description: fields.description.optional(),
  fifo: fields.fifo.default(null),
  concurrency: fields.concurrency.default(16),
})
export type CreateEndpoint = z.infer<typeof createEndpointSchema>

/** PATCH /v1/webhook-endpoints/{id}: what is absent stays as it is. */
export const updateEndpointSchema = z.strictObject({ ...fields, status: z.enum(['enabled', 'disabled']) }).partial()
export type UpdateEndpoint = z.infer<typeof updateEndpointSchema>

/** POST /v1/webhook-endpoints/{id}/rotate-secret. */
export const rotateSecretSchema = z.strictObject({
  overlap_seconds: z
    .int()
    .min(0)
    .max(7 * 24 * 3600)
    .default(24 * 3600)
    .describe('for how long the old secret signs as well; 0 ends it at once'),
})

/** POST /v1/deliveries/replay. */
export const replaySchema = z.strictObject({
  since: z.iso.datetime({ offset: true }).describe('deliveries that failed at or after this time'),
  endpoint: z.string().min(1).max(64).optional(),
})

/** Whether an event of that type is one of those that the filters name. */
export const matchesEventType = (filters: readonly string[], type: string): boolean =>
  filters.some(
    (filter) => filter === '*' || filter === type || (filter.endsWith('.*') && type.startsWith(filter.slice(0, -1))),
  )
