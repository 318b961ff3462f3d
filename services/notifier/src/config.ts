import { Resolver } from 'node:dns'
import { commonEnv, oneOf } from '@sluice/service-kit'
import { z } from 'zod'

const count = (least: number, fallback: number) => z.coerce.number().int().min(least).default(fallback)

function areServers(servers: readonly string[]): boolean {
  try {
    new Resolver().setServers(servers)
    return true
  } catch {
    return false
  }
}

/** The environment of a notifier. */
export const configSchema = z
  .object({
    ...commonEnv,
    SIGNALR_CONNECTION_STRING: z.string().min(1),
    EVENT_HUBS_CONNECTION_STRING: z.string().min(1).optional(),
    EVENT_HUBS_NAMESPACE: z.string().min(1).optional(),
    EVENT_HUB_NAME: z.string().min(1).default('results'),
    /** Opens the secrets of registered endpoints; the same as ingest's. */
    WEBHOOK_SECRETS_KEY: z.string().optional(),
    /** Webhook calls in flight in one notifier that have not taken long yet. */
    WEBHOOK_CONCURRENCY: count(1, 256),
    /** Webhook calls in flight that take long, and after how many milliseconds they do. */
    WEBHOOK_SLOW_CALLS: count(2, 2048),
    WEBHOOK_SLOW_AFTER_MS: count(1, 1000),
    /** For how long a message is held for its first attempts. */
    WEBHOOK_HOLD_MS: count(0, 150),
    WEBHOOK_TIMEOUT_MS: count(1, 15_000),
    /** Milliseconds before the second and each later attempt, comma separated; after the last one a delivery fails. */
    WEBHOOK_RETRY_MS: z
      .string()
      .regex(/^\d+(,\d+)*$/)
      .default('5000,300000,1800000,7200000,18000000,36000000,36000000,86400000,86400000,86400000')
      .transform((text) => text.split(',').map(Number)),
    /** An endpoint that failed for that long is disabled. */
    WEBHOOK_DISABLE_AFTER_MS: count(1, 5 * 24 * 3600 * 1000),
    /** How old what is known of an endpoint may be: so long does a change take to count. */
    ENDPOINT_STALE_MS: count(0, 5_000),
    /** Webhooks leave through this HTTP proxy, which resolves names and keeps them out of private networks. */
    EGRESS_PROXY_URL: z.url({ protocol: /^https?$/, error: 'expected an http(s) URL' }).optional(),
    /** Name servers for receivers' names, comma separated, each an address with or without a port; the machine's own unless given. */
    DNS_SERVERS: z
      .string()
      .transform((text) => text.split(',').map((one) => one.trim()))
      .refine(areServers, 'expected addresses of name servers, comma separated')
      .optional(),
    /** How long a settled delivery is shown and can be replayed; 0 for ever. */
    DELIVERY_RETENTION_DAYS: count(0, 30),
    /** How long the blobs of events that were too large for SignalR or Event Hubs are kept; 0 for ever. */
    EVENT_RETENTION_DAYS: count(0, 7),
    SINK_SLOTS: count(1, 64),
    /** Messages of subscription `webhooks` in hand. */
    WEBHOOK_SLOTS: count(1, 256),
    SWEEP_INTERVAL_MS: count(1, 5_000),
    HANDLER_DEADLINE_MS: count(1, 60_000),
  })
  .check(oneOf('SERVICE_BUS_CONNECTION_STRING', 'SERVICE_BUS_NAMESPACE'))
  .check(oneOf('AZURE_STORAGE_CONNECTION_STRING', 'AZURE_STORAGE_ACCOUNT_URL'))
  .check(oneOf('EVENT_HUBS_CONNECTION_STRING', 'EVENT_HUBS_NAMESPACE'))
