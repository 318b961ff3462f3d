import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createProgress, type ProgressEntry } from '@sluice/progress'
import { systemClock } from '@sluice/resilience'
import { type Audience, connectSignalR } from '@sluice/signalr'
import { createLogger, createMetrics } from '@sluice/telemetry'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createDeliveryMetrics } from '../../services/notifier/src/delivery-metrics.ts'
import { readProgress } from '../../services/notifier/src/read-progress.ts'
import { createSignalRProgress } from '../../services/notifier/src/signalr-progress.ts'
import { eventually } from './notifier-fixture.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

vi.setConfig({ testTimeout: 150_000 })

const logger = createLogger({ service: 'test', level: 'silent' })
let redis: PrivateRedis
beforeAll(async () => {
  redis = await startPrivateRedis()
})
afterAll(() => redis.close())

/** Reads as a notifier does; what it would send is kept. */
function startReader() {
  const stopping = new AbortController()
  const connection = redis.client.duplicate({ maxRetriesPerRequest: null, retryStrategy: () => 20 })
  connection.on('error', () => undefined)
  const sent: { audience: Audience; method: string; args: unknown[] }[] = []
  const signalr = {
    send: async (audience: Audience, method: string, args: string) =>
      void sent.push({ audience, method, args: JSON.parse(args) as unknown[] }),
  }
  const metrics = createDeliveryMetrics(createMetrics('test'))
  const progress = createSignalRProgress({ signalr, metrics, logger, signal: stopping.signal })
  const reading = readProgress({ connection, progress, clock: systemClock, logger, signal: stopping.signal })
  return {
    sent,
    stop: async () => {
      stopping.abort(new Error('the test ends'))
      await reading
      connection.disconnect()
    },
  }
}

test('statuses and deltas of a request go to its targets, once among several notifiers, also after Redis was emptied', async () => {
  const connections = { client: redis.client, forSubscriptions: () => redis.connect() }
  const progress = createProgress({ redis: connections, clock: systemClock, logger, metrics: createMetrics('test') })
  const readers = [startReader(), startReader()]
  const indexes = () =>
    readers
      .flatMap(({ sent }) => sent.filter(({ method }) => method === 'delta'))
      .flatMap(({ args }) => (args[0] as { index: number }[]).map(({ index }) => index))
  const signalr = [{ type: 'signalr' as const, user: 'u1' }]
  const publish = (entry: ProgressEntry) => progress.publish('contoso', 'req_1', entry, { signalr })
  // The group begins with the first reader; what was published before it nobody waits for.
  await eventually(async () => (await redis.client.exists('sluice:progress:signalr')) === 1)
  publish({ kind: 'started', attempt: 1 })
  for (let index = 0; index < 50; index++) publish({ kind: 'delta', index, chunk: { text: 'a' } })
  progress.publish('contoso', 'req_2', { kind: 'delta', index: 0, chunk: {} })
  await eventually(() => indexes().length === 50)
  expect(indexes().sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, n) => n))
  const all = readers.flatMap(({ sent }) => sent)
  expect(all.every(({ audience }) => JSON.stringify(audience) === '{"user":"contoso|u1"}')).toBe(true)
  expect(all.find(({ method }) => method === 'status')?.args).toEqual([{ id: 'req_1', status: 'running', attempt: 1 }])

  await redis.client.flushall()
  // Until the group is there again entries are lost, as they may be; then they come.
  await eventually(() => {
    publish({ kind: 'delta', index: 99, chunk: {} })
    return indexes().includes(99)
  })
  await Promise.all(readers.map((reader) => reader.stop()))
  await progress.close()
})

test('with Microsoft Entra ID the REST calls carry its token, and the service makes the clients’', async () => {
  const calls: { url: string; authorization: string | undefined }[] = []
  const server = createServer((request, response) => {
    calls.push({ url: String(request.url), authorization: request.headers.authorization })
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"token":"for-the-client"}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const credential = { getToken: async (scope: string) => ({ token: `entra for ${scope}` }) }
  const service = connectSignalR(`Endpoint=${endpoint};AuthType=azure;Version=1.0;`, { credential })
  const access = await service.clientAccess('contoso|u 1', 60_000)
  expect(access).toEqual({ url: `${endpoint}/client/?hub=sluice`, accessToken: 'for-the-client' })
  await service.send({ group: 'contoso|ops' }, 'finished', '[]', new AbortController().signal)
  expect(calls).toEqual([
    {
      url: '/api/hubs/sluice/:generateToken?userId=contoso%7Cu%201&minutesToExpire=1&api-version=2022-06-01',
      authorization: 'Bearer entra for https://signalr.azure.com/.default',
    },
    {
      url: '/api/hubs/sluice/groups/contoso%7Cops/:send?api-version=2022-06-01',
      authorization: 'Bearer entra for https://signalr.azure.com/.default',
    },
  ])
  await service.close()
  await new Promise((resolve) => server.close(resolve))
})

test.each(['', 'Endpoint=https://x', 'AccessKey=abc', 'Endpoint=;AccessKey=abc'])(
  '%j is no connection string',
  (text) => {
    expect(() => connectSignalR(text)).toThrow(/SIGNALR_CONNECTION_STRING needs Endpoint/)
  },
)
