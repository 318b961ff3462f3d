import { createAdmission, createBudgets } from '@sluice/admission'
import { createAnswerCache } from '@sluice/cache'
import {
  createEmbedText,
  createExecution,
  createRegionAffinity,
  createResponsePins,
  type Execution,
  watchEvictions,
} from '@sluice/execution'
import { createLedger, createOutbox, createSweeper } from '@sluice/ledger'
import { connectServiceBus, createSender } from '@sluice/messaging'
import { createModels } from '@sluice/models'
import { createLaneStates, createParking } from '@sluice/parking'
import { createProgress } from '@sluice/progress'
import * as routing from '@sluice/routing'
import { drainAll, loadPlatformConfig, runService } from '@sluice/service-kit'
import { connectBlobs, connectCosmos, connectRedis, storageAccount } from '@sluice/storage'
import { createClassify } from './classify.ts'
import { watchClockSkew } from './clock-skew.ts'
import { configSchema } from './config.ts'
import { watchDeadLetters } from './dead-letters.ts'
import { openLanes } from './open-lanes.ts'
import { createProgressReport } from './report-progress.ts'
import { createIsHeldBack, createReviveRow } from './revive-row.ts'
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
    const connection = {
      connectionString: config.SERVICE_BUS_CONNECTION_STRING,
      namespace: config.SERVICE_BUS_NAMESPACE,
    }
    const serviceBus = connectServiceBus(connection, { logger })

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
    const progress = createProgress({ redis, clock, logger, metrics })
    const report = createProgressReport(progress)
    const outbox = report.outbox(createOutbox({ topic: results, ledger }))
    const senders = new Map(Object.keys(platform.lanes).map((name) => [name, createSender(serviceBus, name)]))

    const models = createModels({ deployments: platform.deployments, clock })
    const { breaker } = platform.routing
    const share = 1 / config.WORKERS
    const admission = createAdmission({ redis: redis.client, clock, logger, metrics, share, breaker })
    const budgets = createBudgets({ redis: redis.client, cosmos, clock, logger, share })
    const { embedding_model: model } = platform.cache
    const embed = model === undefined ? undefined : createEmbedText({ execution: () => execution, model })
    const cache = createAnswerCache({ cosmos, config: platform.cache, embed, clock, logger, metrics })
    const evictions = watchEvictions({ deployments: platform.deployments, admission, clock, logger })
    const execution: Execution = createExecution({
      config: platform,
      routing,
      admission,
      models,
      budgets,
      cache,
      evictionOf: evictions.evictionOf,
      affinity: createRegionAffinity({ redis: redis.client, deployments: platform.deployments, clock }),
      pins: createResponsePins({ redis: redis.client, deployments: platform.deployments, clock }),
      logger,
      metrics,
      clock,
    })
    const skew = watchClockSkew({ redis: redis.client, clock, logger })
    await skew.look()

    const parking = createParking({ redis: redis.client, config: platform, clock, metrics })
    const classify = createClassify(platform)
    const lanes = openLanes(
      {
        ledger,
        outbox,
        execution,
        parking,
        classify,
        gate: new SoloGate(),
        progress: report,
        openFile: (tenant, ref, signal) => blobs.pipe(tenant, ref, signal),
        clockTrusted: skew.trusted,
        clock,
        logger,
        metrics,
      },
      {
        platform,
        serviceBus,
        connection,
        redis: redis.client,
        states: createLaneStates({ cosmos, clock }),
        handlerDeadlineMs: config.HANDLER_DEADLINE_MS,
      },
    )
    const hasSessions = (lane: string) => platform.lanes[lane]?.sessions === true
    const sweeper = createSweeper({
      ledger,
      clock,
      logger,
      intervalMs: config.SWEEP_INTERVAL_MS,
      leaseMs: config.LEASE_MS,
      resend: createReviveRow({ ledger, parking, classify, senders, hasSessions, clock, logger }),
      isHeldBack: createIsHeldBack((lane) => lanes.isClosed(lane), hasSessions),
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

    lanes.start()
    sweeper.start()
    deadLetters.start()
    evictions.start()
    return {
      checks: {
        cosmos: () => cosmos.ping(),
        redis: () => redis.ping(),
        'service-bus': () => lanes.check(),
      },
      stop: () =>
        drainAll(
          [
            ['lanes', () => lanes.drain(20_000)],
            ['sweeper', () => sweeper.stop()],
            ['dead letters', () => deadLetters.stop()],
            ['clock', async () => skew.stop()],
            ['ledger', () => ledger.close()],
            [
              'senders',
              async () => void (await Promise.all([results, ...senders.values()].map((sender) => sender.close()))),
            ],
            ['service bus', () => serviceBus.close()],
            ['evictions', async () => evictions.stop()],
            ['cache', () => cache.close()],
            ['models', () => models.close()],
            ['budgets', () => budgets.close()],
            ['admission', async () => admission.close()],
            ['progress', async () => progress.close()],
            ['redis', () => redis.close()],
            ['cosmos', () => cosmos.close()],
          ],
          logger,
        ),
    }
  },
})
