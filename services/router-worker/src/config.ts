import { commonEnv, oneOf } from '@sluice/service-kit'
import { z } from 'zod'

/** The environment of a router worker. */
export const configSchema = z
  .object({
    ...commonEnv,
    HANDLER_DEADLINE_MS: z.coerce.number().int().positive().default(600_000),
    BEAT_MS: z.coerce.number().int().positive().default(5_000),
    LEASE_MS: z.coerce.number().int().positive().default(15_000),
    SWEEP_INTERVAL_MS: z.coerce.number().int().positive().default(2_500),
    DEAD_LETTER_SWEEP_MS: z.coerce.number().int().positive().default(15_000),
    /** Workers that share the quotas; each uses its part alone while Redis is away. */
    WORKERS: z.coerce.number().int().positive().default(1),
  })
  .refine((env) => env.LEASE_MS >= 2 * env.BEAT_MS, {
    path: ['LEASE_MS'],
    message: 'must be at least twice BEAT_MS: an owner would lose its row between two beats',
  })
  .check(oneOf('SERVICE_BUS_CONNECTION_STRING', 'SERVICE_BUS_NAMESPACE'))
  .check(oneOf('AZURE_STORAGE_CONNECTION_STRING', 'AZURE_STORAGE_ACCOUNT_URL'))
