import type { PlatformConfig } from '@sluice/contracts'
import type { Deliveries, Endpoints } from '@sluice/ledger'
import type { Delivery, Sender, Settlement } from '@sluice/messaging'
import type { Clock } from '@sluice/resilience'
import type { Blobs, RedisConnections } from '@sluice/storage'
import type { Logger } from '@sluice/telemetry'
import type { z } from 'zod'
import { attemptWebhook } from './attempt-webhook.ts'
import type { configSchema } from './config.ts'
import type { DeliveryMetrics } from './delivery-metrics.ts'
import { createDeliverySweeper } from './delivery-sweeper.ts'
import { createEndpointDirectory } from './endpoint-directory.ts'
import { createEndpointHealth } from './endpoint-health.ts'
import { handleWebhooks } from './handle-webhooks.ts'
import { createInFlight } from './in-flight.ts'
import type { FindTargets } from './read-event.ts'
import { ringWebhook } from './ring-webhook.ts'
import { webhookCalls } from './webhook-calls.ts'
import { WebhookLanes } from './webhook-lanes.ts'
import { createWebhookSender } from './webhook-sender.ts'
import { createWebhookTimer, runWebhookWorker } from './webhook-timer.ts'

type Settings = Pick<
  z.infer<typeof configSchema>,
  | 'WEBHOOK_CONCURRENCY'
  | 'WEBHOOK_SLOW_CALLS'
  | 'WEBHOOK_SLOW_AFTER_MS'
  | 'WEBHOOK_HOLD_MS'
  | 'WEBHOOK_TIMEOUT_MS'
  | 'WEBHOOK_RETRY_MS'
  | 'WEBHOOK_DISABLE_AFTER_MS'
  | 'ENDPOINT_STALE_MS'
  | 'EGRESS_PROXY_URL'
  | 'DNS_SERVERS'
  | 'SWEEP_INTERVAL_MS'
>

export interface WebhookPipeline {
  handle: (delivery: Delivery) => Promise<Settlement>
  start(): void
  /** Call it when no message comes any more: cuts calls in flight short, and closes. */
  stop(): Promise<void>
}

/** Webhooks as a whole: first attempts, timers, lanes, endpoints' health and the sweeper. */
export function createWebhookPipeline(deps: {
  settings: Settings
  platform: PlatformConfig
  deliveries: Deliveries
  endpoints: Endpoints
  blobs: Blobs
  redis: Pick<RedisConnections, 'forBullMq'>
  topic: Pick<Sender, 'send'>
  findTargets: FindTargets
  metrics: DeliveryMetrics
  clock: Clock
  logger: Logger
  /** When a timer counts as lost. */
  graceMs?: number
}): WebhookPipeline {
  const { settings, platform, deliveries, endpoints, redis, clock, logger } = deps
  const stopping = new AbortController()
  const timer = createWebhookTimer(redis.forBullMq())
  const sender = createWebhookSender({
    config: platform,
    clock,
    timeoutMs: settings.WEBHOOK_TIMEOUT_MS,
    signal: stopping.signal,
    proxyUrl: settings.EGRESS_PROXY_URL,
    dnsServers: settings.DNS_SERVERS,
  })
  const directory = createEndpointDirectory({ endpoints, clock, staleMs: settings.ENDPOINT_STALE_MS })
  const health = createEndpointHealth({
    endpoints,
    directory,
    topic: deps.topic,
    disableAfterMs: settings.WEBHOOK_DISABLE_AFTER_MS,
    clock,
    logger,
  })
  const callOf = webhookCalls({ config: platform, directory, endpoints })
  const lanes = new WebhookLanes({
    fast: settings.WEBHOOK_CONCURRENCY,
    slow: settings.WEBHOOK_SLOW_CALLS,
    slowAfterMs: settings.WEBHOOK_SLOW_AFTER_MS,
    clock,
  })
  const attempt = attemptWebhook({
    sender,
    health,
    blobs: deps.blobs,
    scheduleMs: settings.WEBHOOK_RETRY_MS,
    clock,
    logger,
    metrics: deps.metrics,
    signal: stopping.signal,
  })
  const inFlight = createInFlight(logger)
  const worker = runWebhookWorker(
    redis.forBullMq(),
    ringWebhook({ deliveries, callOf, lanes, attempt, timer, clock }),
    (err) => logger.warn({ err }, 'a webhook attempt could not be carried out; its row stays due'),
  )
  const sweeper = createDeliverySweeper({
    deliveries,
    timer,
    also: () => health.announce(),
    clock,
    logger,
    intervalMs: settings.SWEEP_INTERVAL_MS,
    graceMs: deps.graceMs,
  })
  return {
    handle: handleWebhooks({
      deliveries,
      directory,
      callOf,
      lanes,
      attempt,
      timer,
      inFlight,
      findTargets: deps.findTargets,
      holdMs: settings.WEBHOOK_HOLD_MS,
      timeoutMs: settings.WEBHOOK_TIMEOUT_MS,
      clock,
      logger,
    }),
    start: () => sweeper.start(),
    async stop() {
      await sweeper.stop()
      stopping.abort(new Error('shutting down'))
      await worker.close()
      await inFlight.settled()
      await timer.close()
      await sender.close()
    },
  }
}
