import { createServer, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import {
  type Admission,
  assumeIdle,
  createAdmission,
  type Budgets,
  createBudgets,
  type TenantShare,
} from '@sluice/admission'
import { createAnswerCache } from '@sluice/cache'
import {
  type ApiKeyRow,
  type Deployment,
  identifyKey,
  type PlatformConfig,
  platformConfigSchema,
} from '@sluice/contracts'
import { startCosmosEmulator } from '@sluice/emulator-cosmos'
import { createForwarder, createRegionAffinity, createResponsePins, type Forwarder } from '@sluice/execution'
import { createForwardClient, createModels, createStoredResponses } from '@sluice/models'
import { systemClock } from '@sluice/resilience'
import { decide } from '@sluice/routing'
import { connectCosmos } from '@sluice/storage'
import { createLogger, createMetrics, type Metrics } from '@sluice/telemetry'
import Fastify from 'fastify'
import { answerError } from '../../services/ingest/src/answer-error.ts'
import { createApiKeys } from '../../services/ingest/src/api-keys.ts'
import { createAuthenticate } from '../../services/ingest/src/authenticate.ts'
import { createDrain, type Drain } from '../../services/ingest/src/drain.ts'
import { HeldBodies } from '../../services/ingest/src/held-bodies.ts'
import { createOpenAIDoor } from '../../services/ingest/src/openai-door.ts'
import { modelRoutes } from '../../services/ingest/src/openai-models.ts'
import { createRoutes } from '../../services/ingest/src/routes.ts'
import { storedResponseRoutes } from '../../services/ingest/src/stored-response-routes.ts'
import { deploymentOn, type ModelTwin, startModelTwin } from './model-twin.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

export const doorKey = 'sk-door-test-key'
/** Of another tenant. */
export const fabrikamKey = 'sk-door-test-key-of-fabrikam'

/** One door over the given deployments; limits that a test wants short are short. */
export interface DoorOptions {
  deployments?: (twin: ModelTwin) => Deployment[]
  aliases?: PlatformConfig['routing']['aliases']
  shares?: readonly TenantShare[]
  tenants?: Record<string, { budget?: { day_usd?: number }; cascade?: boolean }>
  /** Of the routing section. */
  cascade?: object
  cache?: object
  evictionOf?: (deployment: string) => AbortSignal | undefined
  waitMs?: number
  stallMs?: number
  bodyLimit?: number
  formLimit?: number
  heldLimit?: number
  requestTimeout?: number
}

export interface Door {
  url: string
  port: number
  drain: Drain
  forwarder: Forwarder
  admission: Admission
  budgets: Budgets
  metrics: Metrics
  /** Lines of its log. */
  log: string[]
  close(): Promise<void>
}

export interface DoorFixture {
  twin: ModelTwin
  redis: PrivateRedis
  open(options?: DoorOptions): Promise<Door>
  close(): Promise<void>
}

const twinDeployments = [
  { name: 'gpt', model: 'gpt-4.1' },
  { name: 'gpt-2', model: 'gpt-4.1' },
  { name: 'small', model: 'gpt-4.1-mini' },
  { name: 'embed', model: 'text-embedding-3-small' },
  { name: 'whisper', model: 'whisper' },
  { name: 'tts', model: 'tts' },
  { name: 'nano', model: 'phi', context_tokens: 300 },
]

/** Two regions with the same models in each. */
export const everyDeployment = (twin: ModelTwin): Deployment[] =>
  ['swedencentral', 'eastus2'].flatMap((resource) => [
    deploymentOn(twin, `gpt-${resource}`, { resource, azure_name: 'gpt', tier: 'large' }),
    deploymentOn(twin, `small-${resource}`, { resource, azure_name: 'small', model: 'gpt-4.1-mini', tier: 'small' }),
    deploymentOn(twin, `embed-${resource}`, {
      resource,
      azure_name: 'embed',
      model: 'text-embedding-3-small',
      urls: ['/v1/embeddings'],
    }),
    deploymentOn(twin, `whisper-${resource}`, {
      resource,
      azure_name: 'whisper',
      model: 'whisper-1',
      urls: ['/v1/audio/transcriptions'],
    }),
    deploymentOn(twin, `tts-${resource}`, { resource, azure_name: 'tts', model: 'tts-1', urls: ['/v1/audio/speech'] }),
  ])

/** What doors stand on: the twin, Redis, and Cosmos with one key. */
export async function startDoorFixture(): Promise<DoorFixture> {
  const resources = ['swedencentral', 'eastus2'].map((name) => ({ name, deployments: twinDeployments }))
  const [twin, redis, emulator] = await Promise.all([
    startModelTwin({ config: { resources } }),
    startPrivateRedis(),
    startCosmosEmulator({}),
  ])
  const cosmos = connectCosmos({ endpoint: emulator.endpoint, key: emulator.key, database: 'door' })
  await cosmos.provision()
  await assumeIdle(redis.client)
  const rows = cosmos.rows<ApiKeyRow>('keys')
  const store = ({ id, hash }: ReturnType<typeof identifyKey>, scope: 'submit' | 'read', tenant = 'contoso') =>
    rows.create({ id, hash: hash.toString('hex'), tenant, scopes: [scope] })
  await store(identifyKey(doorKey), 'submit')
  await store(identifyKey('sk-read-only-key'), 'read')
  await store(identifyKey(fabrikamKey), 'submit', 'fabrikam')
  const keys = createApiKeys({
    rows,
    redis: { client: redis.client, forSubscriptions: () => redis.connect() },
    clock: systemClock,
  })
  const authenticate = createAuthenticate({ keys })

  return {
    twin,
    redis,
    async open(options = {}) {
      const deployments = (options.deployments ?? everyDeployment)(twin)
      const config = platformConfigSchema.parse({
        version: 1,
        routing: { thresholds: { medium: 0.2, large: 0.5 }, aliases: options.aliases ?? {}, cascade: options.cascade },
        deployments,
        lanes: { standard: { tenants: '*', share: 1 } },
        batches: { tenants: '*' },
        tenants: options.tenants ?? {},
        cache: options.cache ?? {},
      })
      const log: string[] = []
      const logger = createLogger({ service: 'door', destination: { write: (line) => void log.push(line) } })
      const metrics = createMetrics('door')
      const admission = createAdmission({ redis: redis.client, clock: systemClock, logger })
      const client = createForwardClient({ apiKeyOf: ({ api_key }) => api_key ?? '' })
      const { waitMs = 2_000, stallMs = 60_000, bodyLimit = 1024 * 1024, formLimit = 8 * 1024 * 1024 } = options
      const limits = { waitMs, waiters: 100, stallMs }
      const base = { config, logger, metrics, clock: systemClock }
      const budgets = createBudgets({ redis: redis.client, cosmos, clock: systemClock, logger })
      const cache = createAnswerCache({ ...base, cosmos, config: config.cache })
      const affinity = createRegionAffinity({ redis: redis.client, deployments, clock: systemClock })
      const pins = createResponsePins({ redis: redis.client, deployments, clock: systemClock })
      const models = createModels({ deployments, clock: systemClock })
      const parts = { ...base, routing: { decide }, admission, client, budgets, cache, models, affinity, pins, limits }
      const forwarder = createForwarder({ ...parts, evictionOf: options.evictionOf })
      const drain = createDrain(systemClock)
      const door = createOpenAIDoor({
        ...base,
        authenticate,
        forwarder,
        drain,
        sharesOf: () => options.shares ?? [],
        corsHeaders: () => [],
        bodyLimit,
        formLimit,
        bodies: new HeldBodies(options.heldLimit ?? 256 * 1024 * 1024),
      })
      const { requestTimeout = 30_000 } = options
      const timeouts = { connectionTimeout: 60_000, requestTimeout, keepAliveTimeout: 60_000 }
      const app = Fastify({ serverFactory: (listener) => door.serve(listener, timeouts) })
      app.setErrorHandler((error, request, reply) =>
        answerError(logger, error as Error & { code: string; name: string }, request, reply),
      )
      const routes = createRoutes(app, authenticate)
      const storedResponses = createStoredResponses({ apiKeyOf: ({ api_key }) => api_key ?? '' })
      modelRoutes(routes, config)
      storedResponseRoutes(routes, { pins, storedResponses })
      await app.listen({ host: '127.0.0.1', port: 0 })
      const { port } = app.server.address() as AddressInfo
      return {
        url: `http://127.0.0.1:${port}`,
        port,
        drain,
        forwarder,
        admission,
        budgets,
        metrics,
        log,
        close: async () => {
          app.server.closeAllConnections()
          await app.close()
          await forwarder.close()
          await storedResponses.close()
          await models.close()
          await cache.close()
          await budgets.close()
          admission.close()
        },
      }
    },
    close: async () => {
      await cosmos.close()
      await Promise.all([twin.close(), redis.close(), emulator.close()])
    },
  }
}

/** An upstream that does what the twin would not. */
export async function startOddUpstream(
  listener: RequestListener,
): Promise<{ server: Server; endpoint: string; close(): Promise<void> }> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    server,
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/openai/v1`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** A connection of one's own, and everything that came back over it. */
export class RawClient {
  readonly socket: Socket
  text = ''
  readonly closed: Promise<void>

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1')
    this.socket.on('data', (chunk: Buffer) => (this.text += chunk.toString('latin1')))
    // A reset is one of the answers that the tests are about.
    this.socket.on('error', () => undefined)
    this.closed = new Promise((resolve) => this.socket.once('close', () => resolve()))
  }

  send(text: string): this {
    this.socket.write(text)
    return this
  }

  /** A POST with the key, and a length unless the headers say otherwise. */
  post(path: string, body: string, headers: Record<string, string | number> = {}): this {
    const all: Record<string, string | number> = {
      host: 'door',
      authorization: `Bearer ${doorKey}`,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      ...headers,
    }
    const head = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
    return this.send(`POST ${path} HTTP/1.1\r\n${head.join('')}\r\n${body}`)
  }
}

/** Polls until `look` answers true; the deadline only matters when the test fails. */
export async function until(look: () => boolean | Promise<boolean>, what: string, withinMs = 15_000): Promise<void> {
  const deadline = Date.now() + withinMs
  while (!(await look())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${withinMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export const chatBody = (content = 'hi', more: object = {}): string =>
  JSON.stringify({ model: 'gpt-4.1', messages: [{ role: 'user', content }], ...more })
