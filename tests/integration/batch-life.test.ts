import { batchEventSchema } from '@sluice/contracts'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { BatchFixture, batchLine, type BatchStores, startBatchStores } from './batch-fixture.ts'

let stores: BatchStores
let fixture: BatchFixture
beforeAll(async () => void (stores = await startBatchStores()))
afterAll(() => stores.stop())
beforeEach(async () => void (fixture = await BatchFixture.over(stores)))
afterEach(() => fixture.close())

const ids = (count: number) => Array.from({ length: count }, (_, n) => `order-${n}`)

test('a file of lines comes back answered, in its order, at batch price, over more than one region', async () => {
  const file = await fixture.upload(ids(60).map((id) => batchLine(id)))
  const { id } = await fixture.submit(file.id, { metadata: { team: 'search' } })
  const batch = await fixture.drive(fixture.worker(), id)
  expect(batch).toMatchObject({
    status: 'completed',
    metadata: { team: 'search' },
    request_counts: { total: 60, completed: 60, failed: 0 },
    error_file_id: null,
  })
  const lines = await fixture.lines(batch.output_file_id)
  expect(lines.map(({ custom_id }) => custom_id)).toEqual(ids(60))
  const { cost_usd: cost = 0, saved_usd: saved = 0 } = batch.sluice
  expect(cost).toBeGreaterThan(0)
  expect(saved).toBeCloseTo(cost, 8)
  expect((batch.sluice.regions as string[]).length).toBeGreaterThan(1)
})

test('lines that cannot run are answered in their place, and the others run', async () => {
  const file = await fixture.upload([
    batchLine('a'),
    '{ no json',
    batchLine('a'),
    batchLine('b', 'hello', { url: '/v1/embeddings', body: { model: 'gpt-4.1-mini', input: 'x' } }),
    batchLine('c', 'hello', { body: { model: 'no-such-model', messages: [{ role: 'user', content: 'x' }] } }),
    batchLine('d'),
  ])
  const { id } = await fixture.submit(file.id)
  const batch = await fixture.drive(fixture.worker(), id)
  expect(batch.request_counts).toEqual({ total: 6, completed: 2, failed: 4 })
  expect((await fixture.lines(batch.output_file_id)).map(({ custom_id }) => custom_id)).toEqual(['a', 'd'])
  expect(await fixture.lines(batch.error_file_id)).toMatchObject([
    { custom_id: 'line-2', error: { code: 'invalid_json', line: 2 } },
    { custom_id: 'a', error: { code: 'invalid_line', line: 3, param: 'custom_id' } },
    { custom_id: 'b', error: { line: 4, param: 'url' } },
    { custom_id: 'c', error: { code: 'model_not_found', line: 5, param: 'body.model' } },
  ])
})

test('bodies that lie in Blob Storage run; those that are none are answered with their line', async () => {
  const { method, url, body } = batchLine('x')
  const refs = async (id: string, text: string) => {
    const body_ref = await fixture.blobs.put('contoso', `in/${id}`, Buffer.from(text), 'application/json')
    return { custom_id: id, method, url, body_ref }
  }
  const file = await fixture.upload([
    await refs('good', JSON.stringify(body)),
    await refs('no json', '{"model"'),
    await refs('null', 'null'),
    await refs('no messages', '{"model":"auto"}'),
  ])
  const { id } = await fixture.submit(file.id)
  const batch = await fixture.drive(fixture.worker(), id)
  expect(batch.request_counts).toEqual({ total: 4, completed: 1, failed: 3 })
  expect(await fixture.lines(batch.error_file_id)).toMatchObject([
    { custom_id: 'no json', error: { code: 'invalid_json', line: 2, param: 'body_ref' } },
    { custom_id: 'null', error: { code: 'invalid_line', line: 3, param: 'body' } },
    { custom_id: 'no messages', error: { code: 'invalid_line', line: 4, param: 'body.messages' } },
  ])
})

test('auto is resolved line by line: easy lines and hard ones run on different models', async () => {
  const auto = (id: string, content: string) =>
    batchLine(id, content, { body: { model: 'auto', messages: [{ role: 'user', content }] } })
  const hard =
    'Prove that every bounded monotone sequence of real numbers converges, derive the rate, and compare three proofs step by step with counterexamples.'
  const file = await fixture.upload([auto('easy', 'Say hello.'), auto('hard', hard.repeat(4))])
  const { id } = await fixture.submit(file.id)
  const batch = await fixture.drive(fixture.worker(), id)
  const lines = await fixture.lines(batch.output_file_id)
  expect(lines.map(({ response }) => (response as { body: { model: string } }).body.model)).toEqual([
    'gpt-4.1-mini',
    'gpt-4.1',
  ])
})

test('events tell of its way: created first, progress in between, completed last', async () => {
  const file = await fixture.upload(ids(40).map((id) => batchLine(id)))
  const { id } = await fixture.submit(file.id, { deliver: [{ type: 'event-hubs' }] })
  const worker = fixture.worker()
  await fixture.drive(worker, id, async () => fixture.events().some(({ type }) => type === 'sluice.batch.completed'))
  const events = fixture.events()
  for (const event of events) expect(batchEventSchema.safeParse(event).error).toBeUndefined()
  expect(events[0]).toMatchObject({ id: `${id}.created`, subject: id, source: '/sluice/contoso' })
  expect(events.at(-1)).toMatchObject({ id: `${id}.completed`, data: { status: 'completed' } })
  expect(events.slice(1, -1).map(({ type }) => type)).toContain('sluice.batch.progress')
  expect(fixture.published.every(({ properties }) => properties?.sink_event_hubs === true)).toBe(true)
})

test('a cancelled batch keeps what is done, and says of the rest that it was cancelled', async () => {
  const file = await fixture.upload(ids(20).map((id) => batchLine(id)))
  const { id } = await fixture.submit(file.id)
  const worker = fixture.worker()
  await fixture.drive(worker, id, ({ request_counts: { completed } }) => completed > 0, 400)
  expect((await fixture.batches.cancel('contoso', id)).status).toBe('cancelling')
  const batch = await fixture.drive(worker, id)
  const { completed, failed } = batch.request_counts
  expect(batch.status).toBe('cancelled')
  expect(completed + failed).toBe(20)
  expect(completed).toBeGreaterThan(0)
  expect(failed).toBeGreaterThan(0)
  expect(await fixture.lines(batch.output_file_id)).toHaveLength(completed)
  const errors = await fixture.lines(batch.error_file_id)
  expect(errors.map(({ error }) => (error as { code: string }).code)).toEqual(Array(failed).fill('batch_cancelled'))
})

test('a tenant sees its own files and batches only', async () => {
  const file = await fixture.upload([batchLine('a')])
  const { id } = await fixture.submit(file.id)
  const missing = { code: 'not_found' }
  await expect(fixture.files.get('fabrikam', file.id)).rejects.toMatchObject(missing)
  await expect(fixture.files.content('fabrikam', file.id)).rejects.toMatchObject(missing)
  await expect(fixture.files.delete('fabrikam', file.id)).rejects.toMatchObject(missing)
  await expect(fixture.batches.get('fabrikam', id)).rejects.toMatchObject(missing)
  await expect(fixture.batches.cancel('fabrikam', id)).rejects.toMatchObject(missing)
  const submitted = fixture.batches.submit('fabrikam', {
    input_file_id: file.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  })
  await expect(submitted).rejects.toMatchObject({ ...missing, param: 'input_file_id' })
  expect(await fixture.batches.list('fabrikam', { limit: 10 })).toEqual({ data: [], has_more: false })
})

test('lists come in pages, the newest first', async () => {
  const file = await fixture.upload([batchLine('a')])
  const made: string[] = []
  for (let n = 0; n < 5; n++) {
    made.unshift((await fixture.submit(file.id)).id)
    await fixture.clock.advance(1_000)
  }
  const first = await fixture.batches.list('contoso', { limit: 3 })
  const second = await fixture.batches.list('contoso', { limit: 3, after: first.data.at(-1)?.id })
  expect([...first.data, ...second.data].map(({ id }) => id)).toEqual(made)
  expect([first.has_more, second.has_more]).toEqual([true, false])
})
