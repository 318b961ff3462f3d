import { commonEnv, oneOf } from '@sluice/service-kit'
import { z } from 'zod'

/** The environment of an ingest. */
export const configSchema = z
  .object({
    ...commonEnv,
    HOST: z.string().default('127.0.0.1'),
    PORT: z.coerce.number().int().min(0).max(65_535).default(7080),
    /** The first API key, stored hashed at start. */
    PROXY_API_KEY: z.string().min(8).optional(),
    PROXY_API_TENANT: z.string().default('local'),
    SIGNALR_CONNECTION_STRING: z.string().min(1),
    /** Bytes of a request body; large ones are kept in Blob. */
    BODY_LIMIT: z.coerce
      .number()
      .int()
      .positive()
      .default(4 * 1024 * 1024),
    SEND_DEADLINE_MS: z.coerce.number().int().positive().default(10_000),
  })
  .check(oneOf('SERVICE_BUS_CONNECTION_STRING', 'SERVICE_BUS_NAMESPACE'))
  .check(oneOf('AZURE_STORAGE_CONNECTION_STRING', 'AZURE_STORAGE_ACCOUNT_URL'))
