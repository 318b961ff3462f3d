import { commonEnv, oneOf } from '@sluice/service-kit'
import { z } from 'zod'

/** The environment of a notifier. */
export const configSchema = z
  .object({
    ...commonEnv,
    SIGNALR_CONNECTION_STRING: z.string().min(1),
    EVENT_HUBS_CONNECTION_STRING: z.string().min(1).optional(),
    EVENT_HUBS_NAMESPACE: z.string().min(1).optional(),
    EVENT_HUB_NAME: z.string().min(1).default('results'),
    /** Webhook calls in flight in one notifier. */
    WEBHOOK_CONCURRENCY: z.coerce.number().int().positive().max(1000).default(64),
    WEBHOOK_TIMEOUT_MS: z.coerce.number().int().positive().default(15_000),
    /** Milliseconds before the second and each later attempt, comma separated; the last one repeats until the limit. */
    WEBHOOK_RETRY_MS: z
      .string()
      .regex(/^\d+(,\d+)*$/)
      .default('5000,300000,1800000,7200000,18000000,36000000,36000000,86400000,86400000,86400000')
      .transform((text) => text.split(',').map(Number)),
    SINK_SLOTS: z.coerce.number().int().positive().max(1000).default(64),
    SWEEP_INTERVAL_MS: z.coerce.number().int().positive().default(5_000),
    HANDLER_DEADLINE_MS: z.coerce.number().int().positive().default(60_000),
  })
  .check(oneOf('SERVICE_BUS_CONNECTION_STRING', 'SERVICE_BUS_NAMESPACE'))
  .check(oneOf('AZURE_STORAGE_CONNECTION_STRING', 'AZURE_STORAGE_ACCOUNT_URL'))
  .check(oneOf('EVENT_HUBS_CONNECTION_STRING', 'EVENT_HUBS_NAMESPACE'))
