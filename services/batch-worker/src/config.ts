import { commonEnv, oneOf } from '@sluice/service-kit'
import { z } from 'zod'

/** The environment of a batch worker. */
export const configSchema = z
  .object({
    ...commonEnv,
    /** Files in work in one worker. */
    BATCH_SLOTS: z.coerce.number().int().positive().max(64).default(2),
    /** Lines of one file on their way to the ledger and the lane at a time. */
    LINES_IN_FLIGHT: z.coerce.number().int().positive().max(1000).default(64),
    HANDLER_DEADLINE_MS: z.coerce
      .number()
      .int()
      .positive()
      .default(24 * 60 * 60 * 1000),
  })
  .check(oneOf('SERVICE_BUS_CONNECTION_STRING', 'SERVICE_BUS_NAMESPACE'))
  .check(oneOf('AZURE_STORAGE_CONNECTION_STRING', 'AZURE_STORAGE_ACCOUNT_URL'))
