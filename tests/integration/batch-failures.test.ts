import type { Cosmos } from '@sluice/storage'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { BatchFixture, batchLine, type BatchStores, startBatchStores } from './batch-fixture.ts'

// A machine that does many things at once may take its time.
vi.setConfig({ testTimeout: 90_000 })

let stores: BatchStores
let fixture: BatchFixture
beforeAll(async () => void (stores = await startBatchStores()))
afterAll(() => stores.stop())
beforeEach(async () => void (fixture = await BatchFixture.over(stores)))
afterEach(() => fixture.close())

const ids = (count: number) => Array.from({ length: count }, (_, n) => `order-${n}`)
const lines = (count: number) => ids(count).map((id) => batchLine(id))
const outage = (region: string) => stores.twin.post('faults', { type: 'outage', resource: region, mode: '503' })

/** A way to the rows on which the process dies with its n-th write: before it is sent, or before its answer is read. */
function dyingAt(n: number, sent: boolean): { cosmos: Cosmos; dead: () => boolean } {
  let writes = 0
  const dead = () => writes >= n
  const died = () => new Error('killed')
  const cosmos: Cosmos = {
    ...fixture.cosmos,
    rows: (name) => {
      const rows = fixture.cosmos.rows(name)
      return new Proxy(rows, {
        get(target, property) {
          const value = Reflect.get(target, property) as unknown
          if (typeof value !== 'function') return value
          return async (...args: unknown[]) => {
            if (dead()) throw died()
            const writing = property === 'patch' || property === 'create'
            if (writing && ++writes === n) {
              if (sent) await (value as (...all: unknown[]) => Promise<unknown>).apply(target, args)
              throw died()
            }
            return (value as (...all: unknown[]) => Promise<unknown>).apply(target, args)
          }
        },
      }) as never
    },
  }
  return { cosmos, dead }
}

test('a worker that is killed at any write is followed by one that goes on: nothing is lost, doubled or paid twice', async () => {
  let survived = false
  const file = await fixture.upload(lines(3))
  // Every other write, in turns before it is sent and before its answer is read.
  for (let n = 1; !survived && n < 60; n += 2) {
    const { id } = await fixture.submit(file.id)
    const before = (await fixture.regionalBatches()).length
    const { cosmos, dead } = dyingAt(n, n % 4 === 1)
    await fixture
      .drive(fixture.worker(cosmos), id, async ({ status }) => dead() || status === 'completed')
      .catch(() => {
        expect(dead()).toBe(true)
      })
    survived = !dead()
    // The dead one's lease runs out.
    await fixture.clock.advance(60_000)
    const batch = await fixture.drive(fixture.worker(), id)
    expect(batch.request_counts, `killed at write ${n}`).toEqual({ total: 3, completed: 3, failed: 0 })
    expect((await fixture.lines(batch.output_file_id)).map(({ custom_id }) => custom_id)).toEqual(ids(3))
    expect((await fixture.regionalBatches()).length - before, `killed at write ${n}`).toBe(1)
    expect(batch.sluice.waste_usd).toBe(0)
  }
  expect(survived).toBe(true)
}, 90_000)

test('the lines of a region that is lost are done elsewhere, and what was paid there shows as waste', async () => {
  const file = await fixture.upload(lines(60))
  const { id } = await fixture.submit(file.id)
  const worker = fixture.worker()
  await fixture.drive(worker, id, ({ request_counts: { completed } }) => completed > 20, 400)
  const lost = (await fixture.regionalBatches()).find(({ status }) => status === 'in_progress')?.region ?? ''
  await outage(lost)
  const batch = await fixture.drive(worker, id)
  expect(batch.status).toBe('completed')
  expect((await fixture.lines(batch.output_file_id)).map(({ custom_id }) => custom_id)).toEqual(ids(60))
  await stores.twin.post('actions', { clear: true })
  const settled = await fixture.drive(worker, id, ({ sluice }) => Number(sluice.waste_usd) > 0)
  expect(settled.sluice.cost_usd).toBe(batch.sluice.cost_usd)
})

test('a sticky batch runs in the region of its file although Redis forgot it, and says so honestly when that is lost', async () => {
  const file = await fixture.upload(lines(25), { sticky: true })
  const region = file.sluice.region ?? ''
  await stores.redis.client.flushall()
  const worker = fixture.worker()
  const first = await fixture.submit(file.id)
  await fixture.drive(worker, first.id, ({ status }) => status === 'in_progress')
  await stores.redis.client.flushall()
  const done = await fixture.drive(worker, first.id)
  expect(done).toMatchObject({ status: 'completed', sluice: { mode: 'sticky', regions: [region] } })
  expect(await fixture.regionalBatches()).toEqual([expect.objectContaining({ region, status: 'completed' })])

  const second = await fixture.submit(file.id)
  await fixture.drive(worker, second.id, async () => (await fixture.regionalBatches()).length === 2)
  await outage(region)
  const failed = await fixture.drive(worker, second.id)
  expect(failed).toMatchObject({ status: 'failed', errors: { data: [{ code: 'region_lost' }] } })
  expect(failed.request_counts).toEqual({ total: 25, completed: 0, failed: 25 })
})

test('parts wait until enqueued tokens are free, also after Redis lost the count', async () => {
  for (const resource of ['swedencentral', 'eastus2', 'westeurope']) {
    await stores.twin.post('deployments', { resource, deployment: 'mini-batch', settings: { enqueued_tokens: 400 } })
  }
  await fixture.close()
  fixture = await BatchFixture.over(stores)
  for (const one of fixture.platform.deployments) if (one.batch !== undefined) one.batch.enqueued_tokens = 400
  const file = await fixture.upload(ids(40).map((id) => batchLine(id, 'word '.repeat(30))))
  const { id } = await fixture.submit(file.id)
  const worker = fixture.worker()
  await fixture.drive(worker, id, ({ request_counts: { completed } }) => completed > 5)
  await stores.redis.client.flushall()
  const batch = await fixture.drive(worker, id)
  expect(batch.request_counts).toEqual({ total: 40, completed: 40, failed: 0 })
  const refused = (await fixture.regionalBatches()).filter(({ status }) => status === 'failed')
  expect(refused).toEqual([])
})

test('a part that its region refuses for its tokens is tried again', async () => {
  const resources = ['swedencentral', 'eastus2', 'westeurope']
  const limit = (enqueued_tokens: number) =>
    Promise.all(
      resources.map((resource) =>
        stores.twin.post('deployments', { resource, deployment: 'mini-batch', settings: { enqueued_tokens } }),
      ),
    )
  await limit(1)
  const file = await fixture.upload(lines(3))
  const { id } = await fixture.submit(file.id)
  const worker = fixture.worker()
  await fixture.drive(worker, id, async () =>
    (await fixture.regionalBatches()).some(({ status }) => status === 'failed'),
  )
  await limit(100_000)
  expect((await fixture.drive(worker, id)).request_counts).toEqual({ total: 3, completed: 3, failed: 0 })
})

test('lines that a region leaves to expire keep what is done, and the rest is done again', async () => {
  for (const resource of ['swedencentral', 'eastus2', 'westeurope']) {
    const batch = { validate_ms: 1_000, lines_per_minute: 1, finalize_ms: 1_000, cancel_ms: 1_000 }
    await stores.twin.post('deployments', { resource, deployment: 'mini-batch', settings: { batch } })
  }
  const file = await fixture.upload(lines(10))
  const { id } = await fixture.submit(file.id, { completion_window: '72h' })
  const worker = fixture.worker()
  await fixture.drive(worker, id, ({ request_counts: { completed } }) => completed > 3, 20_000)
  await fixture.pass(25 * 3_600_000)
  const batch = await fixture.drive(worker, id, undefined, 20_000)
  expect(batch.request_counts).toEqual({ total: 10, completed: 10, failed: 0 })
})
