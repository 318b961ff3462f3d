import { createBudgetCheck, createBudgets } from '@sluice/admission'
import { createBatches, createBatching, createFiles } from '@sluice/batch'
import { createLedger, createOutbox } from '@sluice/ledger'
import { connectServiceBus, createSender, receiveLoop } from '@sluice/messaging'
import { SlotPool } from '@sluice/resilience'
import { drainAll, loadPlatformConfig, runService } from '@sluice/service-kit'
import { connectBlobs, connectCosmos, connectRedis, storageAccount } from '@sluice/storage'
import { createBatchSweeper } from './batch-sweeper.ts'
import { createBatchTimer, runBatchWorker } from './batch-timer.ts'
import { configSchema } from './config.ts'
import { handleBatch } from './handle-batch.ts'

await runService({
  name: 'batch-worker',
  configSchema,
  start: async ({ config, logger, metrics, clock }) => {
    const platform = loadPlatformConfig(config.SLUICE_CONFIG, process.env)
    const bulkLane = Object.entries(platform.lanes).find(([, lane]) => lane.priority === 'bulk')?.[0]
    if (bulkLane === undefined) throw new Error(`${config.SLUICE_CONFIG} has no lane of priority bulk`)
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
    const owner = `batch-worker-${process.pid}`
    const ledger = createLedger({ cosmos, blobs, clock, logger, metrics, owner })
    const topic = createSender(serviceBus, 'results')
    const lanes = new Map(Object.keys(platform.lanes).map((name) => [name, createSender(serviceBus, name)]))
    const outbox = createOutbox({ topic, ledger })

    const doors = { cosmos, blobs, redis: redis.client, platform, clock }
    const batching = createBatching({
      ...{ ...doors, ledger, outbox, topic, lanes, bulkLane, logger, metrics, owner },
      inFlight: config.LINES_IN_FLIGHT,
      leaseMs: config.LEASE_MS,
    })
    const budgets = createBudgets({ redis: redis.client, cosmos, clock, logger })
    const stopping = new AbortController()
    const timer = createBatchTimer(redis.forBullMq())
    const worker = runBatchWorker(redis.forBullMq(), {
      concurrency: config.BATCH_CONCURRENCY,
      runner: batching.runner,
      logger,
      signal: stopping.signal,
    })
    const sweeper = createBatchSweeper({
      ...{ batching, timer, clock, logger },
      intervalMs: config.SWEEP_INTERVAL_MS,
      packMs: config.PACK_INTERVAL_MS,
    })
    const loop = receiveLoop({
      serviceBus,
      queue: 'batches',
      pool: new SlotPool(config.BATCH_SLOTS),
      handle: handleBatch({
        ...{ platform, files: createFiles(doors), batches: createBatches(doors), logger },
        checkBudget: createBudgetCheck({ config: platform, budgets, clock }),
      }),
      handlerDeadlineMs: config.HANDLER_DEADLINE_MS,
      logger,
      metrics,
      clock,
    })
    loop.start()
    sweeper.start()
    return {
      checks: {
        cosmos: () => cosmos.ping(),
        blob: () => blobs.ping(),
        redis: () => redis.ping(),
        'service-bus': () => loop.check(),
      },
      stop: () =>
        drainAll(
          [
            ['batches', () => loop.drain(15_000)],
            ['sweeper', () => sweeper.stop()],
            ['parts', async () => (stopping.abort(new Error('shutting down')), worker.close())],
            ['timer', () => timer.close()],
            ['regions', () => batching.close()],
            ['budgets', () => budgets.close()],
            ['ledger', () => ledger.close()],
            ['senders', async () => void (await Promise.all([topic, ...lanes.values()].map((one) => one.close())))],
            ['service bus', () => serviceBus.close()],
            ['redis', () => redis.close()],
            ['cosmos', () => cosmos.close()],
          ],
          logger,
        ),
    }
  },
})
