import type { ApiKeyRow } from '@sluice/contracts'
import { createAdmission, createBudgetCheck, createBudgets } from '@sluice/admission'
import { createAnswerCache } from '@sluice/cache'
import {
  createEmbedText,
  createExecution,
  createForwarder,
  createRegionAffinity,
  createResponsePins,
  watchEvictions,
} from '@sluice/execution'
import { createBatches, createFiles } from '@sluice/batch'
import { createDeliveries, createEndpoints, createLedger, createOutbox, createSecretBox } from '@sluice/ledger'
import { connectServiceBus, createSender } from '@sluice/messaging'
import { createForwardClient, createModels, createStoredResponses, createUpstreamKeys } from '@sluice/models'
import { createLaneStates, createParking } from '@sluice/parking'
import { createProgress } from '@sluice/progress'
import { decide } from '@sluice/routing'
import { drainAll, loadPlatformConfig, runService } from '@sluice/service-kit'
import { connectSignalR } from '@sluice/signalr'
import { connectBlobs, connectCosmos, connectRedis, storageAccount } from '@sluice/storage'
import { createApiKeys } from './api-keys.ts'
import { createApp } from './app.ts'
import { createAuthenticate } from './authenticate.ts'
import { configSchema } from './config.ts'
import { createCors } from './cors.ts'
import { createDrain } from './drain.ts'
import { createEntraTokens } from './entra-tokens.ts'
import { HeldBodies } from './held-bodies.ts'
import { createKeyAdmin } from './key-admin.ts'
import { createOpenAIDoor } from './openai-door.ts'
import { createRealtime } from './realtime/create-realtime.ts'
import { createSubmitLimits } from './submit-limits.ts'
import { createSharesOf } from './openai-shares.ts'

/** Of DRAIN_MS, what closing connections may take once nothing is under way. */
const closeMs = 3_000

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
    const redis = connectRedis(config.REDIS_URL, { logger, autoPipelining: true })
    const progress = createProgress({ redis, clock, logger, metrics })
    const signalr = connectSignalR(config.SIGNALR_CONNECTION_STRING, { clock })

    const keyRows = cosmos.rows<ApiKeyRow>('keys')
    const keys = createApiKeys({ rows: keyRows, redis, clock })
    const keyAdmin = createKeyAdmin({ rows: keyRows, keys, clock })
    if (config.PROXY_API_KEY !== undefined) await keyAdmin.first(config.PROXY_API_KEY, config.PROXY_API_TENANT)
    const entra = platform.access.entra === undefined ? undefined : createEntraTokens(platform.access.entra)
    const ledger = createLedger({ cosmos, blobs, clock, logger, metrics, owner: `ingest-${process.pid}` })
    const results = createSender(serviceBus, 'results')
    const lanes = new Map(Object.keys(platform.lanes).map((name) => [name, createSender(serviceBus, name)]))
    const drain = createDrain(clock)
    const authenticate = createAuthenticate({ keys, entra })
    const upstreamKeys = createUpstreamKeys({ deployments: platform.deployments, clock })
    const { breaker } = platform.routing
    const share = 1 / config.INSTANCES
    const admission = createAdmission({ redis: redis.client, clock, logger, metrics, share, breaker })
    const budgets = createBudgets({ redis: redis.client, cosmos, clock, logger, share })
    const models = createModels({ deployments: platform.deployments, clock, keys: upstreamKeys })
    const { embedding_model: model } = platform.cache
    const embedding = createExecution({
      config: platform,
      routing: { decide },
      admission,
      models,
      logger,
      metrics,
      clock,
    })
    const embed = model === undefined ? undefined : createEmbedText({ execution: () => embedding, model })
    const cache = createAnswerCache({ cosmos, config: platform.cache, embed, clock, logger, metrics })
    const evictions = watchEvictions({ deployments: platform.deployments, admission, clock, logger })
    const pins = createResponsePins({ redis: redis.client, deployments: platform.deployments, clock })
    const storedResponses = createStoredResponses({ apiKeyOf: (deployment) => upstreamKeys.of(deployment) })
    const forwarder = createForwarder({
      config: platform,
      routing: { decide },
      admission,
      client: createForwardClient({ apiKeyOf: (deployment) => upstreamKeys.of(deployment) }),
      budgets,
      cache,
      affinity: createRegionAffinity({ redis: redis.client, deployments: platform.deployments, clock }),
      pins,
      models,
      evictionOf: evictions.evictionOf,
      logger,
      metrics,
      clock,
      limits: { waitMs: config.SYNC_WAIT_MS, waiters: config.SYNC_WAITERS, stallMs: config.STALL_MS },
    })
    const corsHeaders = createCors(platform.access.cors_origins)
    const submitLimits = createSubmitLimits({ config: platform, redis: redis.client, clock })
    const sharesOf = createSharesOf(platform)
    const checkBudget = createBudgetCheck({ config: platform, budgets, clock })
    const realtime = createRealtime({
      checkBudget,
      config: platform,
      authenticate,
      admission,
      budgets,
      apiKeyOf: (deployment) => upstreamKeys.of(deployment),
      redis: redis.client,
      sharesOf,
      clock,
      logger,
      metrics,
      idleMs: config.REALTIME_IDLE_MS,
      modelWaitMs: config.REALTIME_MODEL_WAIT_MS,
    })
    const bodies = new HeldBodies(config.HELD_BODIES_LIMIT)
    const door = createOpenAIDoor({
      config: platform,
      authenticate,
      forwarder,
      drain,
      sharesOf,
      corsHeaders,
      logger,
      metrics,
      clock,
      bodyLimit: config.BODY_LIMIT,
      formLimit: config.FORM_LIMIT,
      bodies,
    })
    const app = createApp({
      realtime: (caller, ask) => realtime.invite(caller, ask),
      realtimeSecrets: realtime.secrets,
      admission,
      door,
      pins,
      storedResponses,
      forwarder,
      sharesOf,
      corsHeaders,
      keyAdmin,
      submitLimits,
      budgets,
      checkBudget,
      parking: createParking({ redis: redis.client, config: platform, clock, metrics }),
      laneStates: createLaneStates({ cosmos, clock }),
      drain,
      config: platform,
      ledger,
      outbox: createOutbox({ topic: results, ledger }),
      deliveries: createDeliveries({ cosmos, clock, logger }),
      endpoints: createEndpoints({ cosmos, box: createSecretBox(config.WEBHOOK_SECRETS_KEY?.split(',') ?? []), clock }),
      results,
      clock,
      blobs,
      files: createFiles({ cosmos, blobs, platform, clock, redis: redis.client }),
      batches: createBatches({ cosmos, platform, clock, redis: redis.client }),
      lanes,
      progress,
      authenticate,
      signalr,
      logger,
      metrics,
      probe,
      bodies,
      bodyLimit: config.BODY_LIMIT,
      formLimit: config.FORM_LIMIT,
      bodyTimeoutMs: config.BODY_TIMEOUT_MS,
      uploadBytesPerSecond: config.UPLOAD_BYTES_PER_SECOND,
      watchersPerTenant: config.WATCHERS_PER_TENANT,
      sendDeadlineMs: config.SEND_DEADLINE_MS,
    })
    const sessions = realtime.serve(app.server)
    evictions.start()
    await app.listen({ host: config.HOST, port: config.PORT })
    const address = app.server.address()
    const graceMs = Math.max(0, config.DRAIN_MS - closeMs)
    return {
      announce: { port: typeof address === 'object' ? address?.port : config.PORT },
      checks: {
        cosmos: () => cosmos.ping(),
        redis: () => redis.ping(),
        blob: () => blobs.ping(),
        'service-bus': () => results.check(AbortSignal.timeout(1000)),
        signalr: () => signalr.ping(AbortSignal.timeout(1000)),
      },
      stop: () =>
        drainAll(
          [
            ['in flight', async () => void (await Promise.all([drain.run(graceMs), sessions.close(graceMs)]))],
            ['http', () => app.close()],
            ['evictions', async () => evictions.stop()],
            ['forwarding', () => forwarder.close()],
            ['stored responses', () => storedResponses.close()],
            ['models', () => models.close()],
            ['cache', () => cache.close()],
            ['admission', async () => admission.close()],
            ['budgets', () => budgets.close()],
            ['upstream keys', async () => upstreamKeys.close()],
            ['ledger', () => ledger.close()],
            [
              'senders',
              async () => void (await Promise.all([results, ...lanes.values()].map((sender) => sender.close()))),
            ],
            ['service bus', () => serviceBus.close()],
            ['signalr', () => signalr.close()],
            ['progress', () => progress.close()],
            ['redis', () => redis.close()],
            ['cosmos', () => cosmos.close()],
          ],
          logger,
        ),
    }
  },
})
