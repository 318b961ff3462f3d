import { emptyUsage, platformConfigSchema, type RequestLine } from '@sluice/contracts'
import type { Execution, Outcome } from '@sluice/execution'
import { type Claim, createOutbox, createSweeper, type Ledger, type Row } from '@sluice/ledger'
import type { Delivery, OutgoingMessage, Release, Settlement } from '@sluice/messaging'
import { createParking, type Parking } from '@sluice/parking'
import { createLogger, createMetrics } from '@sluice/telemetry'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createClassify } from '../../services/router-worker/src/classify.ts'
import { handleConversation } from '../../services/router-worker/src/handle-conversation.ts'
import { handleParked } from '../../services/router-worker/src/handle-parked.ts'
import { handleRequest } from '../../services/router-worker/src/handle-request.ts'
import type { HandlerDeps } from '../../services/router-worker/src/handler-deps.ts'
import { PurgedLanes } from '../../services/router-worker/src/purged-lanes.ts'
import { createProgressReport } from '../../services/router-worker/src/report-progress.ts'
import { createReviveRow } from '../../services/router-worker/src/revive-row.ts'
import { SoloGate } from '../../services/router-worker/src/solo-gate.ts'
import { leaseMs, LedgerFixture } from './ledger-fixture.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'
import { startStorage, type StandIns } from './storage-stand-ins.ts'

// One request through a worker that dies at each of its awaited steps, right before and right after it. A worker that
// lives on must bring it to its end: one stored result, its event published, called twice at most, nothing left behind.

const platform = platformConfigSchema.parse({
  version: 1,
  routing: { thresholds: { medium: 0.4, large: 0.7 } },
  deployments: [
    {
      name: 'a',
      model: 'a',
      region: 'r',
      endpoint: 'https://a',
      api_key: 'k',
      quota: { tokens_per_minute: 600_000, requests_per_minute: 600 },
      price: { input: 1, output: 1 },
    },
  ],
  lanes: {
    lane: { priority: 'standard', tenants: '*', default_tenant: 't', share: 0.5 },
    talks: { priority: 'standard', tenants: '*', default_tenant: 't', share: 0.5, sessions: true },
  },
  batches: { tenants: '*' },
})
const logger = createLogger({ service: 'test', level: 'silent' })
const never = new Promise<never>(() => {})

/** How far a worker gets: it dies at its `dieAt`-th awaited step, before or after it was carried out. */
class Life {
  steps: string[] = []
  dead = false
  readonly #dieAt: number
  readonly #when: 'before' | 'after'
  #onDeath: () => void = () => {}

  constructor(dieAt: number, when: 'before' | 'after') {
    this.#dieAt = dieAt
    this.#when = when
  }

  onDeath(fn: () => void): void {
    this.#onDeath = fn
  }

  async step<T>(name: string, carryOut: () => Promise<T>): Promise<T> {
    if (this.dead) return never
    this.steps.push(name)
    const last = this.steps.length === this.#dieAt
    if (last && this.#when === 'before') return this.#die()
    const value = await carryOut()
    return last ? this.#die() : this.dead ? never : value
  }

  #die(): Promise<never> {
    this.dead = true
    this.#onDeath()
    return never
  }

  /** An object whose asynchronous methods are steps of this life. */
  of<T extends object>(name: string, target: T, methods: readonly (keyof T)[]): T {
    return new Proxy(target, {
      get: (from, property) => {
        const value: unknown = Reflect.get(from, property, from)
        if (typeof value !== 'function' || !(methods as readonly unknown[]).includes(property)) return value
        return (...args: unknown[]) =>
          this.step(`${name}.${String(property)}`, async () => Reflect.apply(value, from, args) as Promise<unknown>)
      },
    })
  }
}

const immortal = () => new Life(Infinity, 'before')

class World {
  readonly fixture: LedgerFixture
  readonly redis: PrivateRedis
  readonly events: OutgoingMessage[] = []
  /** What the queue holds; the first is in hand first. */
  readonly queue: OutgoingMessage[] = []
  calls = 0
  room = Infinity
  /** Whether the deployment answers with failures. */
  failing = false

  constructor(fixture: LedgerFixture, redis: PrivateRedis) {
    this.fixture = fixture
    this.redis = redis
  }

  worker(life: Life) {
    const { clock } = this.fixture
    const metrics = createMetrics('test')
    const plain = this.fixture.worker()
    const claims: Claim[] = []
    life.onDeath(() => claims.splice(0).forEach((claim) => claim.release()))
    const kept = <T extends { kind: string } | undefined>(result: T): T => {
      if (result !== undefined && 'claim' in result) claims.push((result as unknown as { claim: Claim }).claim)
      return result
    }
    const ledger: Ledger = life.of(
      'ledger',
      {
        ...plain,
        claim: async (input: Parameters<Ledger['claim']>[0]) => kept(await plain.claim(input)),
        take: async (row: Parameters<Ledger['take']>[0]) => kept(await plain.take(row)),
        markPublished: (row: Row) => (life.dead ? undefined : plain.markPublished(row)),
      },
      ['claim', 'take', 'park', 'shelve', 'giveBack', 'finish', 'get'],
    )
    const parking: Parking = life.of(
      'parking',
      createParking({
        redis: this.redis.client,
        config: platform,
        clock: { monotonic: () => performance.now(), now: () => clock.now(), setTimeout: patient },
        metrics,
        deadlineMs: 10_000,
        time: () => clock.now(),
      }),
      ['stage', 'park', 'delay', 'restore', 'later', 'taken', 'drop'],
    )
    const outbox = life.of(
      'outbox',
      createOutbox({ topic: { send: async (event) => void this.events.push(event) }, ledger }),
      ['publish'],
    )
    const run: Execution['run'] = async ({ onAttempt }) => {
      const decision = { score: null, tier: null, model: 'a', deployment: 'a', region: 'r', why: 't', attempts: [] }
      const whole = { ...decision, cache: 'off' as const, escalated: false }
      if (this.room <= 0) return { kind: 'later', afterMs: 1_000, reason: 'full', decision: whole, modelMs: 0 }
      this.room--
      await onAttempt?.({ deployment: 'a', number: 1 })
      this.calls++
      if (this.failing) return { kind: 'later', afterMs: 1_000, reason: 'failing', decision: whole, modelMs: 1 }
      const response = { status_code: 200, request_id: 'r', body: { call: this.calls } }
      const cost = { usage: emptyUsage, costUsd: 0, wasteUsd: 0, alwaysLargeUsd: 0, modelMs: 1 }
      return { kind: 'done', status: 'succeeded', response, error: null, decision: whole, ...cost } satisfies Outcome
    }
    const classify = createClassify(platform)
    const deps: HandlerDeps = {
      ledger,
      outbox,
      parking,
      classify,
      execution: life.of('execution', { run }, ['run']),
      purged: new PurgedLanes(parking.view, clock),
      wakeDispatcher: () => {},
      gate: new SoloGate(),
      progress: createProgressReport({ publish: () => {} }),
      openFile: () => Promise.reject(new Error('no request here has a file')),
      clockTrusted: () => true,
      clock,
      logger,
      metrics,
    }
    const signal = new AbortController().signal
    const context = (name: 'lane' | 'talks') => {
      const lane = platform.lanes[name]
      if (lane === undefined) throw new Error(name)
      return { name, lane, config: platform }
    }
    const dispatch = handleParked(deps, () => 'standard')
    const senders = new Map([['lane', { send: async (message: OutgoingMessage) => void this.queue.push(message) }]])
    const sweeper = createSweeper({
      ledger,
      clock,
      logger,
      intervalMs: 1_000,
      leaseMs,
      resend: createReviveRow({
        ledger,
        parking,
        classify,
        senders: senders as never,
        hasSessions: (lane) => lane === 'talks',
        clock,
        logger,
      }),
      publish: (row) => outbox.publish(row),
    })
    return {
      ledger,
      parking,
      sweeper,
      /** Handles the first message of the queue; settled it is gone. */
      receive: async (lane: 'lane' | 'talks' = 'lane') => {
        const [message] = this.queue
        if (message === undefined) return
        const handle: (delivery: Delivery, signal: AbortSignal) => Promise<Settlement | Release> =
          lane === 'lane' ? handleRequest(deps, context('lane')) : handleConversation(deps, context('talks'))
        const settlement = await handle(deliveryOf(message, clock.now()), signal)
        if (settlement.kind === 'complete') this.queue.shift()
      },
      dispatch: async () => {
        for (let next = await parking.next(['lane']); next.kind === 'row'; next = await parking.next(['lane'])) {
          await dispatch(next.row, next.because, signal)
        }
      },
    }
  }
}

// Redis answers in real time, and a test's clock must not make it late.
const patient = (fn: () => void, ms: number) => {
  const timer = setTimeout(fn, ms)
  return { cancel: () => clearTimeout(timer) }
}

const deliveryOf = ({ body, properties = {}, sessionId }: OutgoingMessage, enqueuedAt: number): Delivery => ({
  messageId: 'message-1',
  sequenceNumber: '1',
  deliveryCount: 0,
  enqueuedAt,
  lockToken: 'lock',
  body: Buffer.from(JSON.stringify(body)),
  subject: undefined,
  correlationId: undefined,
  contentType: undefined,
  replyTo: undefined,
  replyToSessionId: undefined,
  sessionId,
  properties,
  traceparent: undefined,
})

const line: RequestLine = {
  custom_id: 'order-17',
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model: 'a', messages: [{ role: 'user', content: 'hi' }] },
}

let stores: StandIns
let redis: PrivateRedis
beforeAll(async () => {
  ;[stores, redis] = await Promise.all([startStorage(), startPrivateRedis()])
})
afterAll(async () => {
  await stores.stop()
  await redis.close()
})

type Worker = ReturnType<World['worker']>

/** What a worker does until it dies or is done. */
interface Scenario {
  name: string
  lane?: 'talks'
  /** By a worker that lives. */
  before?: (world: World, worker: Worker) => Promise<void>
  room: number
  failing?: boolean
  act: (worker: Worker) => Promise<void>
}

const parked = async (world: World, worker: Worker) => {
  world.room = 0
  await worker.receive()
  world.fixture.clock.jumpWallTime(1_000)
}
const scenarios: Scenario[] = [
  { name: 'a message for which there is room', room: 1, act: (worker) => worker.receive() },
  { name: 'a message for which there is none', room: 0, act: (worker) => worker.receive() },
  { name: 'a waiting row for which there is room', before: parked, room: 1, act: (worker) => worker.dispatch() },
  { name: 'a waiting row for which there is none', before: parked, room: 0, act: (worker) => worker.dispatch() },
  {
    name: 'a waiting row whose deployment fails',
    before: parked,
    room: 1,
    failing: true,
    act: (worker) => worker.dispatch(),
  },
  { name: 'the head of a conversation', lane: 'talks', room: 1, act: (worker) => worker.receive('talks') },
  { name: 'the head of a conversation without room', lane: 'talks', room: 0, act: (worker) => worker.receive('talks') },
]

/** @returns the steps that the worker made; undefined once it got through without dying */
async function dieAt(
  fixture: LedgerFixture,
  scenario: Scenario,
  at: number,
  when: 'before' | 'after',
): Promise<string[] | undefined> {
  await redis.client.flushall()
  const tenant = `t${at}`
  const world = new World(fixture, redis)
  const survivor = world.worker(immortal())
  // The index knows its rows, as it does after the first minute of a deployment's life.
  await redis.client.set('{sluice:parking}:epoch', '1')
  await survivor.parking.look()
  const session = scenario.lane === undefined ? {} : { sessionId: 's' }
  world.queue.push({ body: { ...line, sluice: { tenant } }, ...session })
  await scenario.before?.(world, survivor)

  const life = new Life(at, when)
  const doomed = world.worker(life)
  await doomed.parking.look()
  world.room = scenario.room
  world.failing = scenario.failing ?? false
  const done = scenario.act(doomed).then(() => true)
  await Promise.race([done, untilDead(life)])

  world.room = Infinity
  world.failing = false
  for (let round = 0; round < 12 && (world.queue.length > 0 || world.events.length === 0 || round < 2); round++) {
    await survivor.receive(scenario.lane ?? 'lane')
    await survivor.sweeper.sweepOnce()
    await survivor.dispatch()
    await survivor.parking.look()
    await fixture.clock.advance(leaseMs)
  }
  await survivor.dispatch()

  const told = `${when} step ${at}: ${life.steps.join(', ')}`
  const { rows } = await survivor.ledger.list(tenant, { limit: 10 })
  expect(rows, told).toHaveLength(1)
  const row = await survivor.ledger.get(tenant, rows[0]?.id ?? '')
  expect(row?.status, told).toBe('succeeded')
  const events = world.events.filter(({ properties }) => properties?.tenant === tenant)
  expect(events.length, told).toBeGreaterThan(0)
  for (const { body } of events) expect(body, told).toMatchObject({ id: `${row?.id}.succeeded`, data: row?.result })
  expect(world.calls, told).toBeLessThanOrEqual(2)
  expect(world.queue, told).toEqual([])
  expect((await survivor.parking.look()).get('lane')?.rows, told).toBe(0)
  return life.dead ? life.steps : undefined
}

async function untilDead(life: Life): Promise<void> {
  while (!life.dead) await new Promise((resolve) => setTimeout(resolve, 1))
}

describe.each(scenarios)('$name', (scenario) => {
  it.each(['before', 'after'] as const)(
    'survives a worker that dies right %s any step',
    async (when) => {
      const fixture = await LedgerFixture.over(stores)
      let steps: string[] = []
      for (let at = 1; ; at++) {
        const made = await dieAt(fixture, scenario, at, when)
        if (made === undefined) break
        steps = made
      }
      expect(steps.length).toBeGreaterThanOrEqual(3)
      await fixture.close()
    },
    60_000,
  )
})
