import { createLedger, createOutbox } from '@sluice/ledger'
import { connectServiceBus, createSender, receiveLoop } from '@sluice/messaging'
import { SlotPool } from '@sluice/resilience'
import { drainAll, loadPlatformConfig, runService } from '@sluice/service-kit'
import { connectBlobs, connectCosmos, storageAccount } from '@sluice/storage'
import { configSchema } from './config.ts'
import { handleBatch } from './handle-batch.ts'

await runService({
  name: 'batch-worker',
  configSchema,
  start: async ({ config, logger, metrics, clock }) => {
    const platform = loadPlatformConfig(config.SLUICE_CONFIG, process.env)
    const bulk = Object.entries(platform.lanes).find(([, lane]) => lane.priority === 'bulk')?.[0]
    if (bulk === undefined) throw new Error(`${config.SLUICE_CONFIG} has no lane of priority bulk`)
    const cosmos = connectCosmos({
      endpoint: config.COSMOS_ENDPOINT,
      key: config.COSMOS_KEY,
      database: config.COSMOS_DATABASE,
    })
    const blobs = connectBlobs({ ...storageAccount(config), container: config.BLOB_CONTAINER })
    const serviceBus = connectServiceBus(
      { connectionString: config.SERVICE_BUS_CONNECTION_STRING, namespace: config.SERVICE_BUS_NAMESPACE },
      { logger },
    )
    const ledger = createLedger({ cosmos, blobs, clock, logger, metrics, owner: `batch-worker-${process.pid}` })
    const results = createSender(serviceBus, 'results')
    const lane = { name: bulk, sender: createSender(serviceBus, bulk) }
    const outbox = createOutbox({ topic: results, ledger })
    const loop = receiveLoop({
      serviceBus,
      queue: 'batches',
      pool: new SlotPool(config.BATCH_SLOTS),
      handle: handleBatch({ platform, ledger, outbox, lane, blobs, logger, linesInFlight: config.LINES_IN_FLIGHT }),
      handlerDeadlineMs: config.HANDLER_DEADLINE_MS,
      logger,
      metrics,
      clock,
    })
    loop.start()
    return {
      checks: {
        cosmos: () => cosmos.ping(),
        blob: () => blobs.ping(),
        'service-bus': () => loop.check(),
      },
      stop: () =>
        drainAll(
          [
            ['batches', () => loop.drain(15_000)],
            ['ledger', () => ledger.close()],
            ['senders', async () => void (await Promise.all([results.close(), lane.sender.close()]))],
            ['service bus', () => serviceBus.close()],
            ['cosmos', () => cosmos.close()],
          ],
          logger,
        ),
    }
  },
})
