import { startSignalREmulator, type SignalREmulator } from '@sluice/emulator-signalr'
import { HttpTransportType, HubConnectionBuilder, LogLevel } from '@microsoft/signalr'
import type { DeliverTarget, EventEnvelope } from '@sluice/contracts'
import { complete, type Delivery } from '@sluice/messaging'
import { systemClock } from '@sluice/resilience'
import { connectSignalR, signalrUser } from '@sluice/signalr'
import { createLogger, createMetrics } from '@sluice/telemetry'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { createDeliveryMetrics } from '../../services/notifier/src/delivery-metrics.ts'
import { handleDirectSink } from '../../services/notifier/src/handle-direct-sink.ts'
import { createSignalRProgress } from '../../services/notifier/src/signalr-progress.ts'
import { signalrSink } from '../../services/notifier/src/sinks.ts'
import { createDeliveries } from '@sluice/ledger'
import { eventually, finished } from './notifier-fixture.ts'
import { startStorage, type StandIns } from './storage-stand-ins.ts'

vi.setConfig({ testTimeout: 150_000 })

const logger = createLogger({ service: 'test', level: 'silent' })
const signal = new AbortController().signal
let emulator: SignalREmulator
let stores: StandIns
let service: ReturnType<typeof connectSignalR>
const closing: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  ;[emulator, stores] = await Promise.all([startSignalREmulator(), startStorage()])
  service = connectSignalR(emulator.connectionString, { deadlineMs: 5_000 })
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})
afterAll(async () => {
  await service.close()
  await Promise.all([emulator.close(), stores.stop()])
})

/** A client as a user's own, with the token that ingest's negotiate gives. */
async function client(tenant: string, user: string, transport = HttpTransportType.WebSockets) {
  const { url, accessToken } = await service.clientAccess(signalrUser(tenant, user), 60_000)
  const connection = new HubConnectionBuilder()
    .withUrl(url, { accessTokenFactory: () => accessToken, transport })
    .configureLogging(LogLevel.None)
    .build()
  const got: { method: string; value: unknown }[] = []
  for (const method of ['finished', 'batch', 'status', 'delta']) {
    connection.on(method, (value: unknown) => got.push({ method, value }))
  }
  await connection.start()
  closing.push(() => connection.stop())
  return {
    connection,
    got,
    of: (method: string) => got.filter((one) => one.method === method).map(({ value }) => value),
  }
}

async function sinkOf(maxBytes = 1_000_000) {
  const cosmos = await stores.database()
  const deliveries = createDeliveries({ cosmos, clock: systemClock, logger })
  const metrics = createDeliveryMetrics(createMetrics('test'))
  const deps = { deliveries, blobs: stores.blobs, findTargets: async () => [], clock: systemClock, logger, metrics }
  const handle = handleDirectSink(deps, { ...signalrSink(service), maxBytes })
  const delivery = (event: EventEnvelope, targets: DeliverTarget[], deliveryCount = 0) =>
    ({
      body: Buffer.from(JSON.stringify(event)),
      deliveryCount,
      properties: { deliver: JSON.stringify(targets) },
    }) as unknown as Delivery
  return {
    deliveries,
    send: (event: EventEnvelope, targets: DeliverTarget[], deliveryCount?: number) =>
      handle(delivery(event, targets, deliveryCount), signal),
  }
}
const faults = async (...list: object[]) => {
  const control = `${/Endpoint=([^;]+)/.exec(emulator.connectionString)?.[1]}:${/Port=(\d+)/.exec(emulator.connectionString)?.[1] ?? ''}`
  const url = `${control.replace(/:$/, '')}/_control/faults`
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(list),
  })
  if (!answer.ok) throw new Error(await answer.text())
}

test.each([
  ['WebSockets', HttpTransportType.WebSockets],
  ['server-sent events', HttpTransportType.ServerSentEvents],
  ['long polling', HttpTransportType.LongPolling],
])('an event reaches a user over %s, and nobody of another tenant', async (_, transport) => {
  const sink = await sinkOf()
  const [mine, other] = [await client('contoso', 'u1', transport), await client('fabrikam', 'u1', transport)]
  const event = finished()
  expect(await sink.send(event, [{ type: 'signalr', user: 'u1' }])).toEqual(complete())
  await eventually(() => mine.of('finished').length === 1)
  expect(mine.of('finished')).toEqual([event])
  expect(other.got).toEqual([])
})

test('groups and connections are targets as well; a group is its tenant’s own', async () => {
  const sink = await sinkOf()
  const [member, outsider] = [await client('contoso', 'member'), await client('fabrikam', 'member')]
  await service.changeGroup('add', signalrUser('contoso', 'member'), signalrUser('contoso', 'ops'), signal)
  const [toGroup, toConnection] = [finished(), finished()]
  await sink.send(toGroup, [{ type: 'signalr', group: 'ops' }])
  await sink.send(toConnection, [{ type: 'signalr', connection: member.connection.connectionId ?? '' }])
  await eventually(() => member.of('finished').length === 2)
  expect(member.of('finished')).toEqual([toGroup, toConnection])
  await service.changeGroup('remove', signalrUser('contoso', 'member'), signalrUser('contoso', 'ops'), signal)
  const last = finished()
  await sink.send(finished(), [{ type: 'signalr', group: 'ops' }])
  await sink.send(last, [{ type: 'signalr', user: 'member' }])
  await eventually(() => member.of('finished').length === 3)
  expect(member.of('finished')[2]).toEqual(last)
  expect(outsider.got).toEqual([])
})

test('nobody connected is not an error, and the row says delivered', async () => {
  const sink = await sinkOf()
  const event = finished()
  expect(await sink.send(event, [{ type: 'signalr', user: 'nobody' }])).toEqual(complete())
  expect(await sink.deliveries.listFor('contoso', event.subject)).toMatchObject([{ status: 'delivered' }])
})

test('a message over the limit becomes a link to the whole event', async () => {
  const sink = await sinkOf(2_000)
  const watcher = await client('contoso', 'large')
  const event = finished('contoso', { data: { id: 'req_1', custom_id: 'c', answer: 'x'.repeat(5_000) } })
  await sink.send(event, [{ type: 'signalr', user: 'large' }])
  await eventually(() => watcher.of('finished').length === 1)
  const [shown] = watcher.of('finished') as { id: string; data: { custom_id: string; event_ref: { url: string } } }[]
  expect(shown).toMatchObject({ id: event.id, data: { custom_id: 'c' } })
  expect(await (await fetch(shown?.data.event_ref.url ?? '')).json()).toEqual(event)
})

test('a throttled or failing service is asked again within the deadline, then the message is given back', async () => {
  const sink = await sinkOf()
  const watcher = await client('contoso', 'patient')
  const event = finished()
  await faults(
    { type: 'throttle', at: 'rest', status: 429, times: 1 },
    { type: 'throttle', at: 'rest', status: 503, times: 1 },
  )
  expect(await sink.send(event, [{ type: 'signalr', user: 'patient' }])).toEqual(complete())
  await eventually(() => watcher.of('finished').length === 1)
  const hasty = connectSignalR(emulator.connectionString, { deadlineMs: 200 })
  await faults({ type: 'throttle', at: 'rest', status: 503, times: 1, retryAfterSeconds: 30 })
  await expect(hasty.send({ user: 'x' }, 'finished', '[]', signal)).rejects.toMatchObject({
    code: 'delivery_failed',
    retryAfterMs: 30_000,
  })
  await hasty.close()
})

test('deltas that come while one is under way go together, in order; what exceeds the bound is dropped and counted', async () => {
  const metrics = createMetrics('test')
  const progress = createSignalRProgress({
    signalr: service,
    metrics: createDeliveryMetrics(metrics),
    logger,
    signal,
    maxWatcherBytes: 20_000,
  })
  const watcher = await client('contoso', 'stream')
  const targets = [{ type: 'signalr' as const, user: 'stream' }]
  const push = (entry: Parameters<typeof progress.push>[0]['entry']) =>
    progress.push({ tenant: 'contoso', id: 'req_1', targets, entry })
  push({ kind: 'queued', lane: 'requests-interactive' })
  push({ kind: 'started', attempt: 1 })
  for (let index = 0; index < 200; index++) push({ kind: 'delta', index, chunk: { text: `${index}` } })
  for (let index = 200; index < 300; index++) push({ kind: 'delta', index, chunk: { text: 'x'.repeat(1_000) } })
  push({ kind: 'finished', status: 'succeeded' })
  await progress.settled()
  const deltas = () => (watcher.of('delta') as { id: string; index: number }[][]).flat()
  await eventually(() => deltas().length >= 200)
  expect(watcher.of('status')).toEqual([
    { id: 'req_1', status: 'queued', lane: 'requests-interactive' },
    { id: 'req_1', status: 'running', attempt: 1 },
  ])
  expect(watcher.of('delta').length).toBeLessThan(20)
  expect(
    deltas()
      .slice(0, 200)
      .map(({ index }) => index),
  ).toEqual(Array.from({ length: 200 }, (_, n) => n))
  const { text } = await metrics.render()
  expect(Number(/sluice_signalr_deltas_dropped_total\{[^}]*\} (\d+)/.exec(text)?.[1])).toBeGreaterThan(0)
})
