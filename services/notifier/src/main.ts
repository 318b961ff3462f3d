import { createDeliveries, createEndpoints, createSecretBox } from '@sluice/ledger'
import { connectServiceBus, createEventHubSender, createSender, type Delivery, receiveLoop } from '@sluice/messaging'
import { SlotPool } from '@sluice/resilience'
import { drainAll, loadPlatformConfig, runService } from '@sluice/service-kit'
import { connectSignalR } from '@sluice/signalr'
import { connectBlobs, connectCosmos, connectRedis, storageAccount } from '@sluice/storage'
import { configSchema } from './config.ts'
import { createDeliveryMetrics } from './delivery-metrics.ts'
import { createEventBlobSweeper } from './event-blobs.ts'
import { handleDirectSink } from './handle-direct-sink.ts'
import { perName } from './per-name.ts'
import { readProgress } from './read-progress.ts'
import { createSignalRProgress } from './signalr-progress.ts'
import { eventHubsSink, replySink, signalrSink } from './sinks.ts'
import { watchBacklog } from './watch-backlog.ts'
import { createWebhookPipeline } from './webhook-pipeline.ts'

const daySeconds = 24 * 3600

await runService({
  name: 'notifier',
  configSchema,
  start: async ({ config, logger, metrics, clock }) => {
    const platform = loadPlatformConfig(config.SLUICE_CONFIG, process.env)
    const cosmos = connectCosmos({
      endpoint: config.COSMOS_ENDPOINT,
      key: config.COSMOS_KEY,
      database: config.COSMOS_DATABASE,
    })
    const blobs = connectBlobs({ ...storageAccount(config), container: config.BLOB_CONTAINER })
    const redis = connectRedis(config.REDIS_URL, { logger })
    const serviceBus = connectServiceBus(
      { connectionString: config.SERVICE_BUS_CONNECTION_STRING, namespace: config.SERVICE_BUS_NAMESPACE },
      { logger },
    )
    const signalr = connectSignalR(config.SIGNALR_CONNECTION_STRING, { clock })
    const hubs = perName((hub) =>
      createEventHubSender({
        connectionString: config.EVENT_HUBS_CONNECTION_STRING,
        namespace: config.EVENT_HUBS_NAMESPACE,
        hub,
      }),
    )
    const queues = perName((queue) => createSender(serviceBus, queue))
    const topic = createSender(serviceBus, 'results')

    const box = createSecretBox(config.WEBHOOK_SECRETS_KEY?.split(',') ?? [])
    const deliveries = createDeliveries({
      cosmos,
      clock,
      logger,
      retentionSeconds: config.DELIVERY_RETENTION_DAYS * daySeconds || undefined,
    })
    const sinkMetrics = createDeliveryMetrics(metrics)
    const batches = cosmos.rows<{ id: string; deliver?: unknown }>('batches')
    const findTargets = async (kind: string, tenant: string, id: string) =>
      kind === 'batch' ? (await batches.read(id, [tenant, id]))?.deliver : undefined
    const common = { deliveries, blobs, findTargets, metrics: sinkMetrics, clock, logger }
    const webhooks = createWebhookPipeline({
      ...common,
      settings: config,
      platform,
      endpoints: createEndpoints({ cosmos, box, clock }),
      redis,
      topic,
    })
    const hubOf = (tenant: string) => hubs.of(platform.tenants[tenant]?.event_hub ?? config.EVENT_HUB_NAME)
    const handlers = {
      webhooks: webhooks.handle,
      signalr: handleDirectSink(common, signalrSink(signalr)),
      'event-hubs': handleDirectSink(common, eventHubsSink(hubOf)),
      replies: handleDirectSink(
        common,
        replySink((queue) => queues.of(queue)),
      ),
    }
    const loops = Object.entries(handlers).map(([subscription, handle]) => {
      const lag = sinkMetrics.lag.labels({ sink: subscription })
      return receiveLoop({
        serviceBus,
        topic: 'results',
        subscription,
        pool: new SlotPool(subscription === 'webhooks' ? config.WEBHOOK_SLOTS : config.SINK_SLOTS),
        handle: (delivery: Delivery, signal: AbortSignal) => {
          lag.set(Math.max(0, (clock.now() - delivery.enqueuedAt) / 1000))
          return handle(delivery, signal)
        },
        handlerDeadlineMs: config.HANDLER_DEADLINE_MS,
        logger,
        metrics,
        clock,
      })
    })
    const subscriptions = Object.keys(handlers)
    const backlog = watchBacklog({ ...common, serviceBus, topic: 'results', subscriptions })
    const eventBlobs = createEventBlobSweeper({
      ...common,
      tenants: Object.keys(platform.tenants),
      retentionMs: config.EVENT_RETENTION_DAYS * daySeconds * 1000 || undefined,
    })
    const stopping = new AbortController()
    const { signal } = stopping
    const progress = createSignalRProgress({ signalr, metrics: sinkMetrics, logger, signal })
    const reading = readProgress({ connection: redis.forBullMq(), progress, clock, logger, signal })
    for (const loop of loops) loop.start()
    webhooks.start()
    eventBlobs.start()
    return {
      checks: {
        cosmos: () => cosmos.ping(),
        redis: () => redis.ping(),
        signalr: () => signalr.ping(AbortSignal.timeout(1000)),
        'service-bus': async () => void (await Promise.all(loops.map((loop) => loop.check()))),
      },
      stop: () =>
        drainAll(
          [
            ['subscriptions', async () => void (await Promise.all(loops.map((loop) => loop.drain(15_000))))],
            ['webhooks', () => webhooks.stop()],
            ['backlog', () => backlog.stop()],
            ['event blobs', () => eventBlobs.stop()],
            [
              'progress',
              async () => {
                stopping.abort(new Error('shutting down'))
                await reading
                await progress.settled()
              },
            ],
            ['event hubs', () => hubs.close()],
            ['replies', () => queues.close()],
            ['topic', () => topic.close()],
            ['service bus', () => serviceBus.close()],
            ['signalr', () => signalr.close()],
            ['redis', () => redis.close()],
            ['cosmos', () => cosmos.close()],
          ],
          logger,
        ),
    }
  },
})
