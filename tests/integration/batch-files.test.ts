import { AppError } from '@sluice/errors'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { BatchFixture, batchLine, type BatchStores, bytesOf, startBatchStores } from './batch-fixture.ts'

let stores: BatchStores
let fixture: BatchFixture
beforeAll(async () => void (stores = await startBatchStores()))
afterAll(() => stores.stop())
beforeEach(async () => void (fixture = await BatchFixture.over(stores, { max_line_bytes: 1_000_000 })))
afterEach(() => fixture.close())

const line = (id: string) => JSON.stringify(batchLine(id))
const upload = (content: string | Uint8Array, over: object = {}) =>
  fixture.files.upload('contoso', bytesOf(content), { purpose: 'batch', filename: 'in.jsonl', ...over })

/** What a file is refused with as a whole. */
async function refusal(content: string | Uint8Array, over: object = {}): Promise<object> {
  const thrown: unknown = await upload(content, over).catch((error: unknown) => error)
  if (!(thrown instanceof AppError)) throw new Error('the file was taken')
  expect(await fixture.files.list('contoso', { limit: 10 })).toEqual({ data: [], has_more: false })
  const { code, param, message } = thrown
  return { code, param, message }
}

test.each<[string, string | Uint8Array, object, object]>([
  ['an empty file', '', {}, { code: 'invalid_line', param: 'file', message: 'The file is empty.' }],
  ['nothing but line breaks', '\n\r\n\n', {}, { code: 'invalid_line', param: 'file', message: 'The file is empty.' }],
  [
    'a wrong purpose',
    `${JSON.stringify(batchLine('a'))}\n`,
    { purpose: 'fine-tune' },
    { code: 'invalid_line', param: 'purpose', message: expect.stringContaining('"batch"') as string },
  ],
  [
    'no good line',
    'hello\nworld\n',
    {},
    { code: 'invalid_line', param: 'file', message: 'line 1: The line is not valid JSON.' },
  ],
])('%s is refused, and nothing of it stays', async (_, content, over, expected) => {
  expect(await refusal(content, over)).toEqual(expected)
})

test('a file over the limit is refused while it comes in', async () => {
  const small = await BatchFixture.over(stores, { max_file_bytes: 2_000 })
  try {
    const thrown: unknown = await small
      .upload(Array.from({ length: 50 }, (_, n) => batchLine(`n${n}`)))
      .catch((e: unknown) => e)
    expect(thrown).toMatchObject({ code: 'message_too_large', param: 'file' })
  } finally {
    await small.close()
  }
})

test('a byte order mark and CRLF are read as what they are', async () => {
  const { sluice } = await upload(`\uFEFF${line('a')}\r\n${line('b')}\r\n`)
  expect(sluice).toMatchObject({ lines: 2, rejected: 0, errors: [] })
})

const good = (id: string) => Buffer.from(`${line(id)}\n`)
const badUtf8 = Buffer.from(`${line('x').replace('What', 'Wh\u00ff')}\n`, 'latin1')

test.each<[string, (string | Uint8Array)[], object]>([
  [
    'a line over the limit',
    [good('a'), `"${'x'.repeat(2_000_000)}"\n`, good('b')],
    { code: 'message_too_large', param: 'body' },
  ],
  ['invalid UTF-8', [good('a'), badUtf8, good('b')], { code: 'invalid_json' }],
  ['an id that was there before', [good('a'), good('a'), good('b')], { code: 'invalid_line', param: 'custom_id' }],
  [
    'another url',
    [good('a'), `${JSON.stringify({ ...batchLine('e'), url: '/v1/embeddings', body: { input: 'x' } })}\n`, good('b')],
    { code: 'invalid_line', param: 'url' },
  ],
  [
    'an unknown url',
    [good('a'), `${JSON.stringify({ ...batchLine('e'), url: '/v1/images' })}\n`, good('b')],
    { code: 'unsupported_url', param: 'url' },
  ],
  [
    'no body',
    [good('a'), '{"custom_id":"x","method":"POST","url":"/v1/chat/completions"}\n', good('b')],
    { param: 'body' },
  ],
  [
    'a response to go on from',
    [
      good('a'),
      `${JSON.stringify({ ...batchLine('r'), url: '/v1/responses', body: { input: 'x', previous_response_id: 'resp_1' } })}\n`,
      good('b'),
    ],
    { code: 'invalid_line', param: 'body.previous_response_id' },
  ],
  [
    'another tenant',
    [good('a'), `${JSON.stringify({ ...batchLine('t'), sluice: { tenant: 'fabrikam' } })}\n`, good('b')],
    { param: 'sluice.tenant' },
  ],
])('%s is reported with its line, and the lines around it are accepted', async (_, parts, expected) => {
  const file = await upload(Buffer.concat(parts.map((part) => Buffer.from(part))))
  expect(file.sluice).toMatchObject({ lines: 2, rejected: 1, errors: [{ line: 2, ...expected }] })
  expect(file.status_details).toBe('1 of 3 lines cannot run')
  expect(file.sluice.errors[0]?.message).toMatch(/^line 2: /)
})

test('a file that ends in half a line says so, and the lines before it are accepted', async () => {
  const { sluice } = await upload(`${line('a')}\n${line('b').slice(0, 40)}`)
  expect(sluice).toMatchObject({ lines: 1, rejected: 1, errors: [{ line: 2, code: 'invalid_json' }] })
  expect(sluice.errors[0]?.message).toContain('ends in this line')
})

test('a content that breaks off leaves no file', async () => {
  async function* broken() {
    yield Buffer.from(`${line('a')}\n`)
    throw new Error('the caller went away')
  }
  await expect(fixture.files.upload('contoso', broken(), { purpose: 'batch', filename: 'in.jsonl' })).rejects.toThrow(
    'went away',
  )
  expect((await fixture.files.list('contoso', { limit: 10 })).data).toEqual([])
})

test.each<[string, object, string]>([
  ['an endpoint that is none', { endpoint: '/v1/images' }, 'endpoint'],
  ["an endpoint that is not the file's", { endpoint: '/v1/embeddings' }, 'endpoint'],
  ['a window that is none', { completion_window: 'soon' }, 'completion_window'],
  ['a deadline in the past', { deadline: '2020-01-01T00:00:00Z' }, 'deadline'],
  ['too much metadata', { metadata: { a: 'x'.repeat(600) } }, 'metadata'],
  ['sticky over a file that is not', { mode: 'sticky' }, 'input_file_id'],
  ['a reply queue that is not allowed', { deliver: [{ type: 'service-bus', queue: 'q' }] }, 'sluice.deliver[0].queue'],
])('a batch with %s is refused', async (_, over, param) => {
  const file = await upload(line('a'))
  await expect(fixture.submit(file.id, over)).rejects.toMatchObject({ code: 'invalid_line', param })
})

test('a batch over an output file is refused', async () => {
  const file = await upload(line('a'))
  const { id } = await fixture.submit(file.id)
  const { output_file_id } = await fixture.drive(fixture.worker(), id)
  await expect(fixture.submit(output_file_id ?? '')).rejects.toMatchObject({ param: 'input_file_id' })
})

test('the same key gives the same batch, and a conflict for another one', async () => {
  const [one, two] = [await upload(line('a')), await upload(line('b'))]
  const first = await fixture.submit(one.id, { key: 'k' })
  expect((await fixture.submit(one.id, { key: 'k' })).id).toBe(first.id)
  await expect(fixture.submit(two.id, { key: 'k' })).rejects.toMatchObject({ code: 'idempotency_conflict' })
})

test('a sticky batch that one region cannot take as a whole fails with the reason', async () => {
  const small = await BatchFixture.over(stores, { max_lines: 5 })
  try {
    const file = await small.upload(
      Array.from({ length: 6 }, (_, n) => batchLine(`n${n}`)),
      { sticky: true },
    )
    const { id } = await small.submit(file.id)
    const batch = await small.drive(small.worker(), id)
    expect(batch).toMatchObject({ status: 'failed', errors: { data: [{ code: 'too_large_for_sticky' }] } })
    expect(batch.request_counts).toEqual({ total: 6, completed: 0, failed: 6 })
  } finally {
    await small.close()
  }
})

test('a file is kept while a batch has yet to read it, and may be deleted from then on', async () => {
  const file = await upload(line('a'))
  const { id } = await fixture.submit(file.id)
  await expect(fixture.files.delete('contoso', file.id)).rejects.toMatchObject({ code: 'conflict', param: 'file_id' })
  const worker = fixture.worker()
  await fixture.drive(worker, id, ({ status }) => status === 'in_progress')
  await fixture.files.delete('contoso', file.id)
  await expect(fixture.files.get('contoso', file.id)).rejects.toMatchObject({ code: 'not_found' })
  const batch = await fixture.drive(worker, id)
  expect(batch).toMatchObject({ status: 'completed', request_counts: { total: 1, completed: 1, failed: 0 } })
})

test('a file whose blob went away before its batch began is an error of the batch', async () => {
  await fixture.blobs.put('contoso', 'in/lines.jsonl', Buffer.from(line('a')), 'application/jsonl')
  const file = await fixture.files.adopt('contoso', 'contoso/in/lines.jsonl', 'k')
  const { id } = await fixture.submit(file.id)
  await fixture.blobs.remove('contoso', 'contoso/in/lines.jsonl')
  const batch = await fixture.drive(fixture.worker(), id)
  expect(batch).toMatchObject({ status: 'failed', errors: { data: [{ code: 'file_not_found' }] } })
})

test('a blob that was there before its file is bounded like an upload, and outlives the file', async () => {
  const small = await BatchFixture.over(stores, { max_file_bytes: 2_000 })
  try {
    const put = (name: string, count: number) => {
      const content = Array.from({ length: count }, (_, n) => line(`n${n}`)).join('\n')
      return small.blobs.put('contoso', name, Buffer.from(content), 'application/jsonl')
    }
    await put('in/large.jsonl', 50)
    const adopted = small.files.adopt('contoso', 'contoso/in/large.jsonl', 'large')
    await expect(adopted).rejects.toMatchObject({ code: 'message_too_large', param: 'file' })
    expect(await small.files.adopted('contoso', 'large')).toBeUndefined()
    const ref = await put('in/small.jsonl', 3)
    const file = await small.files.adopt('contoso', ref.blob, 'small')
    await small.files.delete('contoso', file.id)
    expect((await small.blobs.get('contoso', ref)).byteLength).toBe(ref.bytes)
  } finally {
    await small.close()
  }
})
