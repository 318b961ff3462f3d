import { createDeliveries, createLedger, createOutbox } from '@sluice/ledger'
import { connectServiceBus, createSender } from '@sluice/messaging'
import { drainAll, loadPlatformConfig, runService } from '@sluice/service-kit'
import { connectSignalR } from '@sluice/signalr'
import { connectBlobs, connectCosmos, storageAccount } from '@sluice/storage'
import { createApiKeys } from './api-keys.ts'
import { createApp } from './app.ts'
import { configSchema } from './config.ts'

await runService({
  name: 'ingest',
  configSchema,
  start: async ({ config, logger, metrics, clock, probe }) => {
    const platform = loadPlatformConfig(config.SLUICE_CONFIG, process.env)
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
    const signalr = connectSignalR(config.SIGNALR_CONNECTION_STRING, clock)

    const keys = createApiKeys(cosmos.rows('keys'), clock)
    if (config.PROXY_API_KEY !== undefined) await keys.store(config.PROXY_API_KEY, config.PROXY_API_TENANT, ['admin'])
    const ledger = createLedger({ cosmos, blobs, clock, logger, metrics, owner: `ingest-${process.pid}` })
    const results = createSender(serviceBus, 'results')
    const lanes = new Map(Object.keys(platform.lanes).map((name) => [name, createSender(serviceBus, name)]))
    const app = createApp({
      config: platform,
      ledger,
      outbox: createOutbox({ topic: results, ledger }),
      deliveries: createDeliveries({ cosmos, clock, logger }),
      blobs,
      lanes,
      keys,
      signalr,
      logger,
      probe,
      bodyLimit: config.BODY_LIMIT,
      sendDeadlineMs: config.SEND_DEADLINE_MS,
    })
    await app.listen({ host: config.HOST, port: config.PORT })
    const address = app.server.address()
    return {
      announce: { port: typeof address === 'object' ? address?.port : config.PORT },
      checks: {
        cosmos: () => cosmos.ping(),
        signalr: () => signalr.ping(AbortSignal.timeout(1000)),
      },
      stop: () =>
        drainAll(
          [
            ['http', () => app.close()],
            ['ledger', () => ledger.close()],
            [
              'senders',
              async () => void (await Promise.all([results, ...lanes.values()].map((sender) => sender.close()))),
            ],
            ['service bus', () => serviceBus.close()],
            ['signalr', () => signalr.close()],
            ['cosmos', () => cosmos.close()],
          ],
          logger,
        ),
    }
  },
})
