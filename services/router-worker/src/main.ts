import { createAdmission } from '@sluice/admission'
import { createExecution } from '@sluice/execution'
import { createLedger, createOutbox, createSweeper, type Row, rowMessage } from '@sluice/ledger'
import { connectServiceBus, createSender, receiveLoop } from '@sluice/messaging'
import { createModels } from '@sluice/models'
import { SlotPool } from '@sluice/resilience'
import * as routing from '@sluice/routing'
import { drainAll, loadPlatformConfig, runService } from '@sluice/service-kit'
import { connectBlobs, connectCosmos, connectRedis, storageAccount } from '@sluice/storage'
import { watchClockSkew } from './clock-skew.ts'
import { configSchema } from './config.ts'
import { watchDeadLetters } from './dead-letters.ts'
import { handleRequest } from './handle-request.ts'
import { SoloGate } from './solo-gate.ts'

await runService({
  name: 'router-worker',
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

    const ledger = createLedger({
      cosmos,
      blobs,
      clock,
      logger,
      metrics,
      owner: `router-worker-${process.pid}`,
      beatMs: config.BEAT_MS,
      leaseMs: config.LEASE_MS,
    })
    const results = createSender(serviceBus, 'results')
    const outbox = createOutbox({ topic: results, ledger })
    const lanes = new Map(Object.keys(platform.lanes).map((name) => [name, createSender(serviceBus, name)]))
    const resend = async (row: Row) => {
      await lanes.get(row.lane)?.send(rowMessage(row))
    }
    const carryLater = async (row: Row, atMs: number) => {
      await lanes.get(row.lane)?.schedule(rowMessage(row), new Date(atMs))
    }

    const models = createModels({ deployments: platform.deployments, clock })
    const admission = createAdmission({ redis: redis.client, clock, logger, share: 1 / config.WORKERS })
    const execution = createExecution({ config: platform, routing, admission, models, logger, metrics, clock })
    const skew = watchClockSkew({ redis: redis.client, clock, logger })
    await skew.look()

    const gate = new SoloGate()
    const handlerDeps = {
      ledger,
      outbox,
      execution,
      carryLater,
      gate,
      clockTrusted: skew.trusted,
      clock,
      logger,
      metrics,
    }
    const loops = Object.entries(platform.lanes).filter(([, lane]) => !lane.sessions).map(([name, lane]) =>
      receiveLoop({
        serviceBus,
        queue: name,
        pool: new SlotPool(Math.max(1, Math.round(platform.slots * lane.share))),
        handle: handleRequest(handlerDeps, { name, lane, config: platform }),
        handlerDeadlineMs: config.HANDLER_DEADLINE_MS,
        logger,
        metrics,
        clock,
      }),
    )
    const sweeper = createSweeper({
      ledger,
      clock,
      logger,
      intervalMs: config.SWEEP_INTERVAL_MS,
      leaseMs: config.LEASE_MS,
      resend,
      publish: (row) => outbox.publish(row),
      clockTrusted: skew.trusted,
    })
    const deadLetters = watchDeadLetters({
      serviceBus,
      platform,
      ledger,
      outbox,
      clock,
      logger,
      metrics,
      intervalMs: config.DEAD_LETTER_SWEEP_MS,
    })

    for (const loop of loops) loop.start()
    sweeper.start()
    deadLetters.start()
    return {
      checks: {
        cosmos: () => cosmos.ping(),
        redis: () => redis.ping(),
        'service-bus': async () => void (await Promise.all(loops.map((loop) => loop.check()))),
      },
      stop: () =>
        drainAll(
          [
            ['lanes', async () => void (await Promise.all(loops.map((loop) => loop.drain(20_000))))],
            ['sweeper', () => sweeper.stop()],
            ['dead letters', () => deadLetters.stop()],
            ['clock', async () => skew.stop()],
            ['ledger', () => ledger.close()],
            [
              'senders',
              async () => void (await Promise.all([results, ...lanes.values()].map((sender) => sender.close()))),
            ],
            ['service bus', () => serviceBus.close()],
            ['models', () => models.close()],
            ['admission', async () => admission.close()],
            ['redis', () => redis.close()],
            ['cosmos', () => cosmos.close()],
          ],
          logger,
        ),
    }
  },
})
