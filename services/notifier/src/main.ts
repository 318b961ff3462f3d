import { createDeliveries } from '@sluice/ledger'
import { connectServiceBus, createEventHubSender, createSender, receiveLoop, type Sender } from '@sluice/messaging'
import { SlotPool } from '@sluice/resilience'
import { drainAll, loadPlatformConfig, runService } from '@sluice/service-kit'
import { connectSignalR } from '@sluice/signalr'
import { connectBlobs, connectCosmos, connectRedis, storageAccount } from '@sluice/storage'
import { attemptWebhook } from './attempt-webhook.ts'
import { configSchema } from './config.ts'
import { createDeliveryMetrics } from './delivery-metrics.ts'
import { createDeliverySweeper } from './delivery-sweeper.ts'
import { handleDirectSink } from './handle-direct-sink.ts'
import { handleWebhooks } from './handle-webhooks.ts'
import { eventHubsSink, replySink, signalrSink } from './sinks.ts'
import { createWebhookSender } from './webhook-sender.ts'
import { createWebhookTimer, runWebhookWorker } from './webhook-timer.ts'

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
    const signalr = connectSignalR(config.SIGNALR_CONNECTION_STRING, clock)
    const hub = createEventHubSender({
      connectionString: config.EVENT_HUBS_CONNECTION_STRING,
      namespace: config.EVENT_HUBS_NAMESPACE,
      hub: config.EVENT_HUB_NAME,
    })
    const replies = new Map<string, Sender>()
    const replySender = (queue: string) => {
      const sender = replies.get(queue) ?? createSender(serviceBus, queue)
      replies.set(queue, sender)
      return sender
    }

    const deliveries = createDeliveries({ cosmos, clock, logger })
    const timer = createWebhookTimer(redis.forBullMq())
    const sender = createWebhookSender({ config: platform, clock, timeoutMs: config.WEBHOOK_TIMEOUT_MS })
    const delivery = createDeliveryMetrics(metrics)
    const stopping = new AbortController()
    const worker = runWebhookWorker(
      redis.forBullMq(),
      config.WEBHOOK_CONCURRENCY,
      attemptWebhook({
        deliveries,
        sender,
        timer,
        blobs,
        scheduleMs: config.WEBHOOK_RETRY_MS,
        clock,
        logger,
        metrics: delivery,
        signal: stopping.signal,
      }),
      (err) => logger.warn({ err }, 'a webhook attempt could not be carried out; its row stays due'),
    )
    const sweeper = createDeliverySweeper({ deliveries, timer, clock, logger, intervalMs: config.SWEEP_INTERVAL_MS })

    const direct = { deliveries, blobs, clock, logger, metrics: delivery }
    const handlers = {
      webhooks: handleWebhooks({ deliveries, timer, clock, logger }),
      signalr: handleDirectSink(direct, signalrSink(signalr)),
      'event-hubs': handleDirectSink(direct, eventHubsSink(hub)),
      replies: handleDirectSink(direct, replySink(replySender)),
    }
    const loops = Object.entries(handlers).map(([subscription, handle]) =>
      receiveLoop({
        serviceBus,
        topic: 'results',
        subscription,
        pool: new SlotPool(config.SINK_SLOTS),
        handle,
        handlerDeadlineMs: config.HANDLER_DEADLINE_MS,
        logger,
        metrics,
        clock,
      }),
    )
    for (const loop of loops) loop.start()
    sweeper.start()
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
            ['sweeper', () => sweeper.stop()],
            ['webhooks', async () => (stopping.abort(new Error('shutting down')), worker.close())],
            ['timer', () => timer.close()],
            ['sender', () => sender.close()],
            ['event hub', () => hub.close()],
            ['replies', async () => void (await Promise.all([...replies.values()].map((reply) => reply.close())))],
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
