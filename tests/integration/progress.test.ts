import { createProgress, type ProgressEntry, readSharedEntry, signalrGroup, signalrStream } from '@sluice/progress'
import { systemClock } from '@sluice/resilience'
import { createLogger, createMetrics, type Metrics } from '@sluice/telemetry'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

const logger = createLogger({ service: 'test', level: 'silent' })
let redis: PrivateRedis
let metrics: Metrics
beforeAll(async () => {
  redis = await startPrivateRedis()
})
afterAll(() => redis.close())
beforeEach(async () => {
  metrics = createMetrics('test')
  await redis.client.flushall()
})

const open = () =>
  createProgress({
    redis: { client: redis.client, forSubscriptions: () => redis.connect() },
    clock: systemClock,
    logger,
    metrics,
  })
const within = () => AbortSignal.timeout(20_000)
const all = async (entries: AsyncIterable<{ streamId: string; entry: ProgressEntry }>) => {
  const seen = []
  for await (const one of entries) seen.push(one)
  return seen
}
const delta = (index: number): ProgressEntry => ({ kind: 'delta', index, chunk: { text: `${index}` } })
const end: ProgressEntry = { kind: 'finished', status: 'succeeded' }

describe('a reader', () => {
  test('gets what was there and what comes, in order, and ends with the request', async () => {
    const progress = open()
    progress.publish('contoso', 'r1', { kind: 'queued', lane: 'l' })
    await progress.close()
    const reading = all(progress.read('contoso', 'r1', '0', within()))
    for (const index of [0, 1, 2]) progress.publish('contoso', 'r1', delta(index))
    progress.publish('contoso', 'r1', end)
    expect((await reading).map(({ entry }) => entry)).toEqual([
      { kind: 'queued', lane: 'l' },
      delta(0),
      delta(1),
      delta(2),
      end,
    ])
  })

  test('resumes behind an entry that it has seen', async () => {
    const progress = open()
    for (const entry of [delta(0), delta(1), delta(2), end]) progress.publish('contoso', 'r1', entry)
    await progress.close()
    const [first] = await all(progress.read('contoso', 'r1', '0', within()))
    const rest = await all(progress.read('contoso', 'r1', first?.streamId ?? '', within()))
    expect(rest.map(({ entry }) => entry)).toEqual([delta(1), delta(2), end])
  })

  test('of another tenant or request gets nothing', async () => {
    const progress = open()
    for (const [tenant, id] of [
      ['contoso', 'r1'],
      ['contoso|r1', ''],
      ['fabrikam', 'r2'],
    ] as const) {
      progress.publish(tenant, id, end)
    }
    await progress.close()
    expect(await progress.has('fabrikam', 'r1')).toBe(false)
    const stop = new AbortController()
    const reading = all(progress.read('fabrikam', 'r1', '0', stop.signal))
    await redis.client.ping()
    stop.abort()
    expect(await reading).toEqual([])
  })

  test('reads on after Redis was away, without hanging on to it', async () => {
    const progress = open()
    progress.publish('contoso', 'r1', { kind: 'queued', lane: 'l' })
    await progress.close()
    const entries = progress.read('contoso', 'r1', '0', within())[Symbol.asyncIterator]()
    expect((await entries.next()).value).toMatchObject({ entry: { kind: 'queued' } })
    const next = entries.next()
    await redis.kill()
    await redis.restart()
    progress.publish('contoso', 'r1', end)
    expect((await next).value).toMatchObject({ entry: end })
  })
})

describe('a writer', () => {
  test('drops and counts what Redis does not take, and never throws', async () => {
    const progress = open()
    await redis.kill()
    for (let index = 0; index < 50; index++) progress.publish('contoso', 'r1', delta(index))
    await progress.close()
    await redis.restart()
    const { text } = await metrics.render()
    expect(Number(/^sluice_progress_dropped_total\S* (\d+)$/m.exec(text)?.[1])).toBe(50)
    progress.publish('contoso', 'r1', end)
    await progress.close()
    expect((await all(progress.read('contoso', 'r1', '0', within()))).map(({ entry }) => entry)).toEqual([end])
  })

  test('leaves out a chunk that is too large, so that its watcher sees the gap', async () => {
    const progress = open()
    progress.publish('contoso', 'r1', delta(0))
    progress.publish('contoso', 'r1', { kind: 'delta', index: 1, chunk: 'x'.repeat(300_000) })
    progress.publish('contoso', 'r1', delta(2))
    progress.publish('contoso', 'r1', end)
    const seen = await all(progress.read('contoso', 'r1', '0', within()))
    expect(seen.map(({ entry }) => (entry.kind === 'delta' ? entry.index : entry.kind))).toEqual([0, 2, 'finished'])
  })

  test('keeps a capped stream that does not stay for ever', async () => {
    const progress = open()
    for (let index = 0; index < 3_000; index++) progress.publish('contoso', 'r1', delta(index))
    progress.publish('contoso', 'r1', end)
    await progress.close()
    const [key = ''] = await redis.client.keys('sluice:progress:*')
    expect(await redis.client.xlen(key)).toBeLessThan(1_300)
    expect(await redis.client.pttl(key)).toBeGreaterThan(0)
  })
})

test('what goes to SignalR is in the shared stream for one notifier of the group', async () => {
  const progress = open()
  const targets = [{ type: 'signalr' as const, user: 'u1' }]
  await redis.client.xgroup('CREATE', signalrStream, signalrGroup, '0', 'MKSTREAM')
  progress.publish('contoso', 'r1', delta(0), { signalr: targets })
  progress.publish('contoso', 'r2', delta(0))
  await progress.close()
  const read = (await redis.client.xreadgroup('GROUP', signalrGroup, 'n1', 'STREAMS', signalrStream, '>')) as
    | [string, [string, string[]][]][]
    | null
  const entries = (read?.[0]?.[1] ?? []).map(([, fields]) => readSharedEntry(fields))
  expect(entries).toEqual([{ tenant: 'contoso', id: 'r1', targets, entry: delta(0) }])
  expect(readSharedEntry(['tenant', 'contoso', 'kind', 'delta'])).toBeUndefined()
})
