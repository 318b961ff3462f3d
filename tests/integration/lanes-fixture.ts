import { ServiceBusClient, type ServiceBusMessage } from '@azure/service-bus'
import { emptyUsage, type PlatformConfig, platformConfigSchema, type ResultEvent } from '@sluice/contracts'
import { startAmqpEmulator } from '@sluice/emulator-amqp'
import type { Execution } from '@sluice/execution'
import { createLedger, createOutbox, createSweeper, type Ledger, type Row } from '@sluice/ledger'
import { connectServiceBus, createSender } from '@sluice/messaging'
import { createLaneStates, createParking, type LaneStates, type Parking } from '@sluice/parking'
import { systemClock } from '@sluice/resilience'
import type { Blobs, Cosmos } from '@sluice/storage'
import { createLogger, createMetrics } from '@sluice/telemetry'
import { createClassify } from '../../services/router-worker/src/classify.ts'
import { type Lanes, openLanes } from '../../services/router-worker/src/open-lanes.ts'
import { createProgressReport } from '../../services/router-worker/src/report-progress.ts'
import { createIsHeldBack, createReviveRow } from '../../services/router-worker/src/revive-row.ts'
import { SoloGate } from '../../services/router-worker/src/solo-gate.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'
import { startStorage, type StandIns } from './storage-stand-ins.ts'

const deployment = (name: string) => ({
  name,
  model: name,
  region: 'r',
  endpoint: 'https://a',
  api_key: 'k',
  quota: { tokens_per_minute: 600_000, requests_per_minute: 600 },
  price: { input: 1, output: 1 },
})

export const platformWith = (lanes: Record<string, object> = {}, more: object = {}): PlatformConfig =>
  platformConfigSchema.parse({
    version: 1,
    routing: { thresholds: { medium: 0.4, large: 0.7 } },
    deployments: [deployment('a'), deployment('b')],
    slots: 20,
    lanes: {
      interactive: {
        priority: 'interactive',
        tenants: '*',
        default_tenant: 't',
        share: 0.4,
        weight: 8,
        ...lanes.interactive,
      },
      standard: { priority: 'standard', tenants: '*', default_tenant: 't', share: 0.3, weight: 4, ...lanes.standard },
      conversations: {
        priority: 'interactive',
        sessions: true,
        tenants: '*',
        default_tenant: 't',
        share: 0.3,
        weight: 4,
        ...lanes.conversations,
      },
    },
    batches: { tenants: '*' },
    ...more,
  })

/** The provider's side of every worker: rooms that the test opens and shuts, and a record of the calls. */
class Rooms {
  /** Calls that may begin, by model; absent is as many as come. */
  readonly room = new Map<string, number>()
  readonly calls: string[] = []
  /** Keys that have used up their own limits. */
  readonly keysAtLimit = new Set<string>()
  /** Tries of theirs. */
  refusedKeys = 0
  /** Told of each try, before it is known whether there is room. */
  tried: (customId: string) => void = () => {}
  /** Keeps a call going until it resolves. */
  during: (customId: string, signal: AbortSignal) => Promise<void> = async () => {}
  afterMs = 50

  readonly execution: Execution = {
    run: async ({ body, keyLimits, onAttempt }, signal) => {
      const { model } = body
      const decision = { score: null, tier: null, model, deployment: model, region: 'r', why: 'test', attempts: [] }
      const whole = { ...decision, cache: 'off' as const, escalated: false }
      const name = String((body.messages as { content: string }[])[0]?.content)
      this.tried(name)
      if (this.keysAtLimit.has(keyLimits?.principal ?? '')) {
        this.refusedKeys++
        return { kind: 'later', afterMs: this.afterMs, reason: 'tenant', decision: whole, modelMs: 0 }
      }
      const left = this.room.get(model) ?? Infinity
      if (left <= 0) return { kind: 'later', afterMs: this.afterMs, reason: 'full', decision: whole, modelMs: 0 }
      this.room.set(model, left - 1)
      await onAttempt?.({ deployment: model, number: 1 })
      this.calls.push(name)
      await this.during(name, signal)
      signal.throwIfAborted()
      return {
        kind: 'done',
        status: 'succeeded',
        response: { status_code: 200, request_id: 'r', body: { answer: name } },
        error: null,
        decision: whole,
        usage: emptyUsage,
        costUsd: 0,
        wasteUsd: 0,
        alwaysLargeUsd: 0,
        modelMs: 1,
      }
    },
  }
}

export interface LaneWorker {
  lanes: Lanes
  ledger: Ledger
  parking: Parking
  states: LaneStates
  stop(): Promise<void>
}

/** A line for a deployment, whose prompt is its name. */
export const line = (customId: string, sluice: object = {}, model = 'a') => ({
  custom_id: customId,
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model, messages: [{ role: 'user', content: customId }], max_tokens: 100 },
  sluice,
})

/** Broker, ledger and Redis with any number of workers' lanes; the model is {@link Rooms}. */
export class LanesFixture {
  readonly rooms = new Rooms()
  readonly redis: PrivateRedis
  readonly events: ResultEvent[] = []
  readonly #stores: StandIns
  readonly #cosmos: Cosmos
  readonly #blobs: Blobs
  readonly #amqp: Awaited<ReturnType<typeof startAmqpEmulator>>
  readonly #client: ServiceBusClient
  readonly #workers: LaneWorker[] = []
  readonly #closing: Promise<void>[] = []

  private constructor(
    stores: StandIns,
    cosmos: Cosmos,
    redis: PrivateRedis,
    amqp: Awaited<ReturnType<typeof startAmqpEmulator>>,
  ) {
    this.#stores = stores
    this.#cosmos = cosmos
    this.#blobs = stores.blobs
    this.redis = redis
    this.#amqp = amqp
    this.#client = new ServiceBusClient(amqp.serviceBusConnectionString)
    this.#client.createReceiver('results', 'all', { receiveMode: 'receiveAndDelete' }).subscribe({
      processMessage: async ({ body }) => void this.events.push(body as ResultEvent),
      processError: async () => {},
    })
  }

  static async start(): Promise<LanesFixture> {
    const queue = (Name: string, more: object = {}) => ({
      Name,
      Properties: { LockDuration: 'PT5S', MaxDeliveryCount: 50, ...more },
    })
    const amqp = await startAmqpEmulator({
      serviceBusConfig: {
        UserConfig: {
          Namespaces: [
            {
              Name: 'ns',
              Queues: [queue('interactive'), queue('standard'), queue('conversations', { RequiresSession: true })],
              Topics: [{ Name: 'results', Properties: {}, Subscriptions: [{ Name: 'all', Properties: {} }] }],
            },
          ],
        },
      },
    })
    const [stores, redis] = await Promise.all([startStorage(), startPrivateRedis()])
    return new LanesFixture(stores, await stores.database(), redis, amqp)
  }

  worker(
    options: {
      platform?: PlatformConfig
      beatMs?: number
      leaseMs?: number
      execution?: Execution
      sweep?: boolean
    } = {},
  ): LaneWorker {
    const { platform = platformWith(), beatMs = 200, leaseMs = 1_000 } = options
    const clock = systemClock
    const logger = createLogger({ service: 'test', level: 'silent' })
    const metrics = createMetrics('test')
    const connection = { connectionString: this.#amqp.serviceBusConnectionString }
    const serviceBus = connectServiceBus(connection, { logger })
    const redis = this.redis.connect()
    const common = { cosmos: this.#cosmos, clock, logger, metrics }
    const ledger = createLedger({ ...common, blobs: this.#blobs, owner: 'test', beatMs, leaseMs, insistMs: 2_000 })
    const results = createSender(serviceBus, 'results')
    const outbox = createOutbox({ topic: results, ledger })
    const parking = createParking({ redis, config: platform, clock, metrics, deadlineMs: 2_000 })
    const classify = createClassify(platform)
    const states = createLaneStates({ cosmos: this.#cosmos, clock })
    const { execution = this.rooms.execution } = options
    const lanes = openLanes(
      {
        ledger,
        outbox,
        execution,
        parking,
        classify,
        gate: new SoloGate(),
        progress: createProgressReport({ publish: () => {} }),
        openFile: (tenant, ref, signal) => this.#blobs.pipe(tenant, ref, signal),
        clockTrusted: () => true,
        clock,
        logger,
        metrics,
      },
      { platform, serviceBus, connection, redis, states, handlerDeadlineMs: 60_000, idleMs: 25 },
    )
    const senders = new Map(Object.keys(platform.lanes).map((name) => [name, createSender(serviceBus, name)]))
    const hasSessions = (lane: string) => platform.lanes[lane]?.sessions === true
    const sweeper = createSweeper({
      ledger,
      clock,
      logger,
      intervalMs: 200,
      leaseMs,
      resend: createReviveRow({ ledger, parking, classify, senders, hasSessions, clock, logger }),
      isHeldBack: createIsHeldBack((lane) => lanes.isClosed(lane), hasSessions),
      publish: (row) => outbox.publish(row),
    })
    lanes.start()
    if (options.sweep !== false) sweeper.start()
    let stopped: Promise<void> | undefined
    const worker: LaneWorker = {
      lanes,
      ledger,
      parking,
      states,
      stop: () =>
        (stopped ??= (async () => {
          await lanes.drain(2_000)
          await sweeper.stop()
          // The last flips take a second, for which the next test need not wait.
          this.#closing.push(
            (async () => {
              await ledger.close()
              await Promise.all([results, ...senders.values()].map((sender) => sender.close()))
              await serviceBus.close()
            })(),
          )
        })()),
    }
    this.#workers.push(worker)
    return worker
  }

  async send(queue: string, ...messages: ServiceBusMessage[]): Promise<void> {
    const sender = this.#client.createSender(queue)
    await sender.sendMessages(messages)
    await sender.close()
  }

  /** Messages that lie in a queue, locked ones included. */
  async queued(path: string): Promise<number> {
    const answer = await fetch(`http://127.0.0.1:${this.#amqp.controlPort}/_control/state`)
    const { queues } = (await answer.json()) as { queues: { path: string; messages: number }[] }
    return queues.find((queue) => queue.path === path)?.messages ?? 0
  }

  async rows(): Promise<Row[]> {
    return this.#cosmos.rows<Row>('requests').query<Row>({ sql: 'SELECT * FROM c', limit: 1_000 })
  }

  eventsOf(customId: string): ResultEvent[] {
    return this.events.filter(({ data }) => data.custom_id === customId)
  }

  /** Stops the workers and forgets everything but the queues, which a test leaves empty. */
  async stopWorkers(): Promise<void> {
    await Promise.all(this.#workers.splice(0).map((worker) => worker.stop()))
  }

  async close(): Promise<void> {
    await this.stopWorkers()
    await Promise.all(this.#closing)
    await this.#client.close()
    await this.#amqp.close()
    await this.#stores.stop()
    await this.redis.close()
  }
}
