import { commonEnv, oneOf } from '@sluice/service-kit'
import { z } from 'zod'

/** The environment of a batch worker. */
export const configSchema = z
  .object({
    ...commonEnv,
    /** Files in work in one worker. */
    BATCH_SLOTS: z.coerce.number().int().positive().max(64).default(2),
    /** Batches and parts that one worker moves at a time. */
    BATCH_CONCURRENCY: z.coerce.number().int().positive().max(256).default(16),
    /** Lines of one part on their way to the ledger and the lanes at a time. */
    LINES_IN_FLIGHT: z.coerce.number().int().positive().max(1000).default(64),
    /** How long after a worker's last sign of life another one goes on with its batches and parts. */
    LEASE_MS: z.coerce.number().int().positive().default(15_000),
    /** Between two looks for batches and parts that are due. */
    SWEEP_INTERVAL_MS: z.coerce.number().int().positive().default(1_000),
    /** Between two looks for requests to pack. */
    PACK_INTERVAL_MS: z.coerce.number().int().positive().default(5_000),
    HANDLER_DEADLINE_MS: z.coerce
      .number()
      .int()
      .positive()
      .default(24 * 60 * 60 * 1000),
  })
  .check(oneOf('SERVICE_BUS_CONNECTION_STRING', 'SERVICE_BUS_NAMESPACE'))
  .check(oneOf('AZURE_STORAGE_CONNECTION_STRING', 'AZURE_STORAGE_ACCOUNT_URL'))
