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
    /** Seals the secrets of webhook endpoints: base64 of 32 bytes; two, comma separated, the new one first, while it is replaced. */
    WEBHOOK_SECRETS_KEY: z.string().optional(),
    /** Ingests that share the quotas; each uses its part alone while Redis is away. */
    INSTANCES: z.coerce.number().int().positive().default(1),
    /** Bytes of a request body; large ones are kept in Blob. */
    BODY_LIMIT: z.coerce
      .number()
      .int()
      .positive()
      .default(4 * 1024 * 1024),
    /** The service kit's own: how long a stop may take. */
    DRAIN_MS: z.coerce.number().int().positive().default(25_000),
    /** Bytes of a multipart body, such as a recording. */
    FORM_LIMIT: z.coerce
      .number()
      .int()
      .positive()
      .default(26 * 1024 * 1024),
    /** Bytes of all requests' bodies that are held at a time; more is a 503 before it is read. */
    HELD_BODIES_LIMIT: z.coerce
      .number()
      .int()
      .positive()
      .default(256 * 1024 * 1024),
    /** How long a synchronous call waits for room before it is a 429; no longer than its own deadline. */
    SYNC_WAIT_MS: z.coerce.number().int().nonnegative().default(5_000),
    /** Synchronous calls that may wait at a time. */
    SYNC_WAITERS: z.coerce.number().int().nonnegative().default(1_000),
    /** How long the reader of a stream may stand still. */
    STALL_MS: z.coerce.number().int().positive().default(60_000),
    /** How long a realtime session may stay without an event. */
    REALTIME_IDLE_MS: z.coerce.number().int().positive().default(60_000),
    /** How long a realtime client that named no model has for its first session.update. */
    REALTIME_MODEL_WAIT_MS: z.coerce.number().int().positive().default(2_000),
    /** How long a JSON body may take to arrive; an upload is looked at after each such time. */
    BODY_TIMEOUT_MS: z.coerce.number().int().positive().default(30_000),
    /** What an upload has to bring on average of each BODY_TIMEOUT_MS, however long it takes. */
    UPLOAD_BYTES_PER_SECOND: z.coerce.number().int().positive().default(1_024),
    /** Event streams and long polls that a tenant may have open in this process. */
    WATCHERS_PER_TENANT: z.coerce.number().int().positive().default(200),
    SEND_DEADLINE_MS: z.coerce.number().int().positive().default(10_000),
  })
  .check(oneOf('SERVICE_BUS_CONNECTION_STRING', 'SERVICE_BUS_NAMESPACE'))
  .check((context) => {
    const { BODY_LIMIT, FORM_LIMIT, HELD_BODIES_LIMIT } = context.value
    if (HELD_BODIES_LIMIT >= Math.max(BODY_LIMIT, FORM_LIMIT)) return
    const message = 'HELD_BODIES_LIMIT is less than one body may have (BODY_LIMIT, FORM_LIMIT)'
    context.issues.push({ code: 'custom', input: context.value, path: ['HELD_BODIES_LIMIT'], message })
  })
  .check(oneOf('AZURE_STORAGE_CONNECTION_STRING', 'AZURE_STORAGE_ACCOUNT_URL'))
