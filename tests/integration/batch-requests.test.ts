import { decodeLine, type RequestLine } from '@sluice/contracts'
import type { Claim, Row } from '@sluice/ledger'
import { randomUUID } from 'node:crypto'
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

const hourMs = 3_600_000
const ids = (count: number) => Array.from({ length: count }, (_, n) => `order-${n}`)
const inHours = (hours: number) => new Date(fixture.clock.now() + hours * hourMs).toISOString()
const slowly = (lines_per_minute: number, cancel_ms = 1_000) =>
  Promise.all(
    ['swedencentral', 'eastus2', 'westeurope'].map((resource) =>
      stores.twin.post('deployments', {
        resource,
        deployment: 'mini-batch',
        settings: { batch: { validate_ms: 1_000, lines_per_minute, finalize_ms: 1_000, cancel_ms } },
      }),
    ),
  )

/** A message's line as its receiver reads it. */
const arrived = (body: unknown): RequestLine => decodeLine(Buffer.from(JSON.stringify(body)))

/** What a router would do with the lines that went to their lane. */
async function runLane(): Promise<number> {
  const messages = fixture.sent.splice(0)
  for (const { body, properties } of messages) {
    const claim = await claimed(arrived(body), String(properties?.idempotencyKey))
    await fixture.ledger.finish(claim, {
      status: 'succeeded',
      response: { status_code: 200, request_id: 'online', body: { answer: 'online' } },
      costUsd: 0.001,
    })
  }
  return messages.length
}

async function claimed(line: RequestLine, key: string): Promise<Claim> {
  const found = await fixture.ledger.claim({
    ...{ tenant: 'contoso', key, line, lane: 'requests-bulk', via: 'service-bus' },
    ...{ expectExisting: true, enqueuedAt: fixture.clock.now() },
  })
  if (found.kind !== 'claimed') throw new Error(`expected a claim, got ${found.kind}`)
  return found.claim
}

/** A request that its router decided to keep for a batch. */
async function packed(customId: string, deadline: string): Promise<Row> {
  const line = { ...batchLine(customId), sluice: { priority: 'bulk', deadline } } as RequestLine
  return fixture.ledger.pack(await claimed(line, randomUUID()))
}

const results = () =>
  fixture.published
    .filter(({ properties }) => properties?.kind !== 'batch')
    .map(({ body }) => (body as { data: { custom_id: string; sluice: { status: string; cost_usd: number } } }).data)

test('every line has its own event when that was asked for, rejected ones too', async () => {
  const file = await fixture.upload([...ids(12).map((id) => batchLine(id)), 'no json'])
  const { id } = await fixture.submit(file.id, {
    perLineEvents: true,
    defaults: { deliver: [{ type: 'signalr', user: 'u1' }] },
  })
  const batch = await fixture.drive(fixture.worker(), id)
  expect(batch.request_counts).toEqual({ total: 13, completed: 12, failed: 1 })
  const byId = new Map(results().map((data) => [data.custom_id, data.sluice.status]))
  expect(results()).toHaveLength(13)
  expect(byId.get('line-13')).toBe('failed')
  for (const one of ids(12)) expect(byId.get(one)).toBe('succeeded')
  const total = results().reduce((sum, { sluice }) => sum + sluice.cost_usd, 0)
  expect(total).toBeCloseTo(batch.sluice.cost_usd ?? 0, 10)
  expect(fixture.published.filter(({ properties }) => properties?.sink_signalr === true)).toHaveLength(13)
})

test('as the deadline nears, what is not answered goes online, and the partial output is kept', async () => {
  await slowly(1)
  const file = await fixture.upload(ids(10).map((id) => batchLine(id)))
  const { id } = await fixture.submit(file.id, { deadline: inHours(0.6) })
  const worker = fixture.worker()
  await fixture.drive(worker, id, async () => fixture.sent.length > 0, 20_000)
  await fixture.drive(worker, id, ({ sluice: { cost_usd } }) => (cost_usd ?? 0) > 0)
  const online = await runLane()
  expect(online).toBeGreaterThan(0)
  expect(online).toBeLessThan(10)
  const batch = await fixture.drive(worker, id)
  expect(batch).toMatchObject({ status: 'completed', request_counts: { total: 10, completed: 10, failed: 0 } })
  const lines = await fixture.lines(batch.output_file_id)
  expect(lines.map(({ custom_id }) => custom_id)).toEqual(ids(10))
  const wasOnline = ({ response }: Record<string, unknown>) =>
    (response as { request_id: string }).request_id === 'online'
  expect(lines.filter(wasOnline)).toHaveLength(online)
})

test('what a region does not end in time is ended without it: all its lines go online', async () => {
  await slowly(1 / 60, 10 * hourMs)
  const file = await fixture.upload(ids(5).map((id) => batchLine(id)))
  const { id } = await fixture.submit(file.id, { deadline: inHours(0.6) })
  const worker = fixture.worker()
  await fixture.drive(worker, id, () => fixture.sent.length > 0, 60_000)
  expect(await fixture.regionalBatches()).toEqual([expect.objectContaining({ status: 'cancelling' })])
  expect(await runLane()).toBe(5)
  const batch = await fixture.drive(worker, id)
  expect(batch).toMatchObject({ status: 'completed', request_counts: { total: 5, completed: 5, failed: 0 } })
})

test('lines without an answer at the deadline expire, and the others stay answered', async () => {
  await slowly(1)
  const file = await fixture.upload(ids(5).map((id) => batchLine(id)))
  const { id } = await fixture.submit(file.id, { deadline: inHours(0.55) })
  const worker = fixture.worker()
  await fixture.drive(worker, id, () => fixture.sent.length > 0, 20_000)
  // Nobody runs the lane: its requests expire, as a sweeper would have it.
  await fixture.clock.advance(hourMs)
  for (const { body, properties } of fixture.sent.splice(0)) {
    const claim = await claimed(arrived(body), String(properties?.idempotencyKey))
    await fixture.ledger.finish(claim, { status: 'expired', error: { code: 'deadline_exceeded', message: 'late' } })
  }
  const batch = await fixture.drive(worker, id)
  const { completed, failed } = batch.request_counts
  expect(batch.status).toBe('expired')
  expect([completed + failed, failed > 0]).toEqual([5, true])
  const errors = await fixture.lines(batch.error_file_id)
  expect(errors.map(({ error }) => (error as { code: string }).code)).toEqual(Array(failed).fill('batch_expired'))
})

test('bulk requests with slack are gathered into a batch by themselves, and each gets its answer at batch price', async () => {
  const rows = []
  for (const id of ids(7)) rows.push(await packed(id, inHours(8)))
  const worker = fixture.worker()
  expect(await worker.packer.packOnce()).toEqual({ batches: 0, packed: 0, unpacked: 0 })
  await fixture.pass(6 * 60_000)
  expect(await worker.packer.packOnce()).toEqual({ batches: 1, packed: 7, unpacked: 0 })
  const [made] = (await fixture.batches.list('contoso', { limit: 5 })).data
  const batch = await fixture.drive(worker, made?.id ?? '')
  expect(batch.request_counts).toEqual({ total: 7, completed: 7, failed: 0 })
  for (const { id } of rows) {
    const row = await fixture.ledger.get('contoso', id)
    expect(row).toMatchObject({ status: 'succeeded', result: { sluice: { decision: { why: 'in a batch' } } } })
  }
  expect(results()).toHaveLength(7)
  const { text } = await fixture.metrics.render()
  const saved = Number(/sluice_batch_saved_usd_total\{[^}]*\} (\S+)/.exec(text)?.[1])
  expect(saved).toBeGreaterThan(0)
})

test('a packed request that runs out of time goes to its lane, from outside a batch and from within', async () => {
  await slowly(1)
  const outside = await packed('outside', inHours(1))
  const inside = []
  for (const id of ids(4)) inside.push(await packed(id, inHours(3)))
  const worker = fixture.worker()
  await fixture.pass(31 * 60_000)
  expect(await worker.packer.packOnce()).toEqual({ batches: 1, packed: 4, unpacked: 1 })
  expect(await runLane()).toBe(1)
  expect((await fixture.ledger.get('contoso', outside.id))?.status).toBe('succeeded')
  const [made] = (await fixture.batches.list('contoso', { limit: 5 })).data
  await slowly(1 / 60)
  await fixture.drive(worker, made?.id ?? '', () => fixture.sent.length > 0, 300_000)
  const online = await runLane()
  await fixture.drive(worker, made?.id ?? '')
  for (const { id } of inside) expect((await fixture.ledger.get('contoso', id))?.status).toBe('succeeded')
  // A worker of the lane publishes what it ran.
  expect(results()).toHaveLength(4 - online)
})

test('a packed request can be cancelled; its answer is dropped and counts as waste', async () => {
  const rows = []
  for (const id of ids(3)) rows.push(await packed(id, inHours(8)))
  const worker = fixture.worker()
  await fixture.pass(6 * 60_000)
  await worker.packer.packOnce()
  const [made] = (await fixture.batches.list('contoso', { limit: 5 })).data
  await fixture.drive(worker, made?.id ?? '', ({ status }) => status === 'in_progress')
  const cancelled = await fixture.ledger.cancel('contoso', rows[0]?.id ?? '')
  expect(cancelled.status).toBe('cancelled')
  const batch = await fixture.drive(worker, made?.id ?? '')
  expect(batch.sluice.waste_usd).toBeGreaterThan(0)
  expect((await fixture.ledger.get('contoso', rows[0]?.id ?? ''))?.status).toBe('cancelled')
  expect((await fixture.ledger.get('contoso', rows[1]?.id ?? ''))?.status).toBe('succeeded')
})
