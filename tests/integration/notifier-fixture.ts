import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { startAmqpEmulator } from '@sluice/emulator-amqp'
import { type EventEnvelope, type PlatformConfig, platformConfigSchema } from '@sluice/contracts'
import { createDeliveries, createEndpoints, createSecretBox } from '@sluice/ledger'
import { connectServiceBus, createSender, receiveLoop } from '@sluice/messaging'
import { SlotPool, systemClock } from '@sluice/resilience'
import { createLogger, createMetrics } from '@sluice/telemetry'
import { Webhook } from 'standardwebhooks'
import { createDeliveryMetrics } from '../../services/notifier/src/delivery-metrics.ts'
import { createWebhookPipeline } from '../../services/notifier/src/webhook-pipeline.ts'
import { eventually as eventuallyWithin } from './messaging-fixture.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'
import { startStorage, type StandIns } from './storage-stand-ins.ts'

export const inlineSecret = `whsec_${Buffer.from('a secret for inline urls, 32 byte').toString('base64')}`
const box = createSecretBox([randomBytes(32).toString('base64')])

const entity = (Name: string) => ({ Name, Properties: { LockDuration: 'PT5S', MaxDeliveryCount: 50 } })
const topic = {
  Name: 'results',
  Properties: {},
  Subscriptions: ['webhooks', 'signalr', 'event-hubs', 'replies', 'watch'].map(entity),
}
const serviceBusConfig = {
  UserConfig: { Namespaces: [{ Name: 'ns', Queues: [entity('replies')], Topics: [topic] }] },
}

/** The least that a platform is made of, with tenants that may call this machine. */
export const platformOf = (tenants: Record<string, object>): PlatformConfig =>
  platformConfigSchema.parse({
    version: 1,
    routing: { thresholds: { medium: 0.4, large: 0.7 } },
    deployments: [
      {
        name: 'a',
        model: 'm',
        region: 'r',
        endpoint: 'https://a',
        api_key: 'k',
        quota: { tokens_per_minute: 1, requests_per_minute: 1 },
        price: { input: 1, output: 1 },
      },
    ],
    lanes: {},
    batches: { tenants: '*' },
    tenants,
  })

const local = { webhooks: { secrets: [inlineSecret], allow_hosts: ['127.0.0.1'] } }

export type PipelineSettings = Parameters<typeof createWebhookPipeline>[0]['settings']
const defaults: PipelineSettings = {
  WEBHOOK_CONCURRENCY: 256,
  WEBHOOK_SLOW_CALLS: 512,
  WEBHOOK_SLOW_AFTER_MS: 500,
  WEBHOOK_HOLD_MS: 100,
  WEBHOOK_TIMEOUT_MS: 2_000,
  WEBHOOK_RETRY_MS: [50, 50, 50, 50, 50],
  WEBHOOK_DISABLE_AFTER_MS: 3_600_000,
  ENDPOINT_STALE_MS: 0,
  EGRESS_PROXY_URL: undefined,
  SWEEP_INTERVAL_MS: 200,
}

let serial = 0
/** A finished request's event, under an id of its own. */
export function finished(tenant = 'contoso', over: Partial<EventEnvelope> = {}): EventEnvelope {
  const id = `req_${String(++serial).padStart(32, '0')}`
  return {
    specversion: '1.0',
    id: `${id}.succeeded`,
    type: 'sluice.request.succeeded',
    source: `/sluice/${tenant}`,
    subject: id,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    data: { id, custom_id: `order-${serial}`, response: null, error: null, sluice: { tenant } },
    ...over,
  }
}

/** The stores and brokers that notifiers work on, started once a file. */
export async function startNotifierGround() {
  const [stores, amqp, redis] = await Promise.all([
    startStorage(),
    startAmqpEmulator({ serviceBusConfig }),
    startPrivateRedis(),
  ])
  return {
    stores,
    amqp,
    redis,
    stop: async () => {
      await Promise.all([stores.stop(), amqp.close(), redis.close()])
    },
  }
}
export type Ground = { stores: StandIns; amqp: Awaited<ReturnType<typeof startAmqpEmulator>>; redis: PrivateRedis }

/** A notifier's webhook part in this process, with a database of its own. */
export async function startWebhooks(
  ground: Ground,
  given: { settings?: Partial<PipelineSettings>; graceMs?: number } = {},
) {
  const cosmos = await ground.stores.database()
  const logger = createLogger({ service: 'test', level: 'silent' })
  const metrics = createMetrics('test')
  const clock = systemClock
  const serviceBus = connectServiceBus({ connectionString: ground.amqp.serviceBusConnectionString }, { logger })
  const sender = createSender(serviceBus, 'results')
  const deliveries = createDeliveries({ cosmos, clock, logger })
  const endpoints = createEndpoints({ cosmos, box, clock })
  const batches = cosmos.rows<{ id: string; tenant: string; batch: string; deliver: object[] }>('batches')
  const connections: { disconnect(): void }[] = []
  const platform = platformOf({ contoso: local, fabrikam: local })
  const open = async () => {
    const pipeline = createWebhookPipeline({
      settings: { ...defaults, ...given.settings },
      platform,
      deliveries,
      endpoints,
      blobs: ground.stores.blobs,
      redis: {
        forBullMq: () => {
          const connection = ground.redis.client.duplicate({ maxRetriesPerRequest: null })
          connection.on('error', () => undefined)
          connections.push(connection)
          return connection
        },
      },
      topic: sender,
      findTargets: async (_, tenant, id) => (await batches.read(id, [tenant, id]))?.deliver,
      metrics: createDeliveryMetrics(metrics),
      clock,
      logger,
      ...(given.graceMs === undefined ? {} : { graceMs: given.graceMs }),
    })
    const loop = receiveLoop({
      serviceBus,
      topic: 'results',
      subscription: 'webhooks',
      pool: new SlotPool(128),
      handle: pipeline.handle,
      handlerDeadlineMs: 30_000,
      logger,
      metrics,
      clock,
    })
    loop.start()
    pipeline.start()
    return {
      stop: async () => {
        await loop.drain(5_000)
        await pipeline.stop()
      },
    }
  }
  const running = await open()
  return {
    cosmos,
    platform,
    deliveries,
    endpoints,
    batches,
    serviceBus,
    metrics,
    /** Puts an event on the topic, with the targets that its request named. */
    publish: (event: EventEnvelope, deliver: object[] | null = [], properties: Record<string, string> = {}) =>
      sender.send({
        body: event,
        contentType: 'application/cloudevents+json',
        subject: event.type,
        properties: {
          tenant: event.source.slice('/sluice/'.length),
          ...(deliver === null ? {} : { deliver: JSON.stringify(deliver) }),
          ...properties,
        },
      }),
    stop: async () => {
      await running.stop()
      await sender.close()
      await serviceBus.close()
      for (const connection of connections) connection.disconnect()
    },
  }
}

export interface Arrival {
  path: string
  id: string
  event: EventEnvelope
  atMs: number
  headers: Record<string, string>
  body: string
}

/** An HTTP server that keeps what arrives; `answer` decides what it says, 204 unless given. */
export async function startReceiver(
  answer: (arrival: Arrival, response: ServerResponse, request: IncomingMessage) => void = (_, response) =>
    void response.writeHead(204).end(),
) {
  const arrivals: Arrival[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8')
      const headers = request.headers as Record<string, string>
      const event = JSON.parse(body) as EventEnvelope
      const arrival = {
        path: request.url ?? '',
        id: String(headers['webhook-id']),
        event,
        headers,
        body,
        atMs: Date.now(),
      }
      arrivals.push(arrival)
      answer(arrival, response, request)
    })
  })
  server.keepAliveTimeout = 60_000
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    arrivals,
    of: (eventId: string) => arrivals.filter(({ id }) => id === eventId),
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Verifies as a receiver does: with the public package alone. @throws when no signature fits */
export const verified = (secret: string, { body, headers }: Arrival): unknown =>
  new Webhook(secret).verify(body, headers)

/** Long, because it only matters when a test fails; a crowded machine is ten times slower. */
const patienceMs = 60_000
export const eventually = (check: () => unknown): Promise<void> => eventuallyWithin(check, patienceMs)
