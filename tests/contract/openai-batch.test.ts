import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NotFoundError, toFile } from 'openai'
import type { OpenAI } from 'openai'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { deployments, hourMs, jsonl, line } from './openai-batch-lines.ts'
import type { OutputLine } from './openai-batch-lines.ts'
import { deploymentState, resource, startTwin } from './openai-twin.ts'
import type { TwinUnderTest } from './openai-twin.ts'

describe('files and batches', () => {
  let under: TwinUnderTest
  // Frozen: only the control API moves time, so that every state can be looked at.
  const frozen = Date.UTC(2026, 0, 1)

  beforeEach(async () => {
    under = await startTwin(deployments, { clock: () => frozen })
  })
  afterEach(() => under.close())

  const upload = async (content: string | Buffer, client: OpenAI = under.openai) =>
    client.files.create({ file: await toFile(Buffer.from(content), 'input.jsonl'), purpose: 'batch' })
  const submit = async (content: string, client: OpenAI = under.openai) => {
    const file = await upload(content, client)
    return client.batches.create({
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      metadata: { team: 'a' },
    })
  }
  const advance = (advanceMs: number) => under.control('POST', 'clock', { advanceMs })
  const outputOf = async (id: string | undefined): Promise<OutputLine[]> => {
    const text = await (await under.openai.files.content(id ?? 'none')).text()
    return text
      .split('\n')
      .filter(Boolean)
      .map((row) => JSON.parse(row) as OutputLine)
  }

  test('a file is uploaded, listed, retrieved, read back byte for byte and deleted', async () => {
    const content = `${jsonl([line(1)])}tail \u00e9\r\n--boundary-like`
    const file = await upload(content)
    expect(file).toMatchObject({
      object: 'file',
      filename: 'input.jsonl',
      purpose: 'batch',
      status: 'processed',
      bytes: Buffer.byteLength(content),
    })
    const other = await upload('x')
    expect((await under.openai.files.list()).data.map((row) => row.id)).toEqual([other.id, file.id])
    expect((await under.openai.files.list({ limit: 1, after: other.id })).data.map((row) => row.id)).toEqual([file.id])
    expect((await under.azure.files.retrieve(file.id)).id).toBe(file.id)
    expect(await (await under.openai.files.content(file.id)).text()).toBe(content)
    expect(await under.openai.files.delete(file.id)).toMatchObject({ id: file.id, deleted: true })
    await expect(under.openai.files.retrieve(file.id)).rejects.toBeInstanceOf(NotFoundError)
  })

  test('a large file streams through unchanged', async () => {
    const content = Buffer.alloc(12 * 1024 * 1024, 'line of text with a \r\n-- in it\n')
    const file = await upload(content)
    const read = Buffer.from(await (await under.openai.files.content(file.id)).arrayBuffer())
    expect(read.equals(content)).toBe(true)
  })

  test('uploads are refused for a wrong purpose, a missing part, a broken form and too many bytes', async () => {
    const file = await toFile(Buffer.from('x'), 'a.jsonl')
    await expect(under.openai.files.create({ file, purpose: 'lunch' as 'batch' })).rejects.toMatchObject({
      status: 400,
      param: 'purpose',
      code: 'invalidPayload',
    })
    const send = (body: string, type: string) =>
      fetch(`${under.twin.url}/r/${resource}/openai/v1/files`, {
        method: 'POST',
        body,
        headers: { 'api-key': 'first-key', 'content-type': type },
      })
    expect((await send('{}', 'application/json')).status).toBe(415)
    expect((await send('no boundary at all', 'multipart/form-data; boundary=b')).status).toBe(400)
    expect(
      (
        await send(
          '--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n',
          'multipart/form-data; boundary=b',
        )
      ).status,
    ).toBe(400)
    expect(
      (
        await send(
          '--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nhalf',
          'multipart/form-data; boundary=b',
        )
      ).status,
    ).toBe(400)
    await under.close()
    const { startOpenAITwin } = await import('@sluice/emulator-openai')
    const small = await startOpenAITwin({
      config: { resources: [{ name: 'small', keys: ['k'], max_file_bytes: 10, deployments }] },
    })
    const client = under.openai.withOptions({ apiKey: 'k', baseURL: `${small.url}/r/small/openai/v1` })
    await expect(
      client.files.create({ file: await toFile(Buffer.alloc(11), 'a.jsonl'), purpose: 'batch' }),
    ).rejects.toMatchObject({ status: 413 })
    expect((await client.files.list()).data).toEqual([])
    await small.close()
    under = await startTwin(deployments, { clock: () => frozen })
  })

  test('a batch goes through its states by the clock, with counts that add up, and answers every line once', async () => {
    const created = await submit(jsonl(Array.from({ length: 60 }, (_, i) => line(i))))
    expect(created).toMatchObject({
      object: 'batch',
      status: 'validating',
      endpoint: '/v1/chat/completions',
      metadata: { team: 'a' },
      output_file_id: null,
    })
    expect((created.expires_at ?? 0) - created.created_at).toBe(24 * 3_600)
    const retrieve = () => under.openai.batches.retrieve(created.id)
    await advance(1_000)
    expect(await retrieve()).toMatchObject({
      status: 'in_progress',
      request_counts: { total: 60, completed: 0, failed: 0 },
    })
    expect((await deploymentState(under, 'bulk')).enqueued_tokens).toBeGreaterThan(0)
    await advance(30_000)
    expect(await retrieve()).toMatchObject({
      status: 'in_progress',
      request_counts: { total: 60, completed: 30, failed: 0 },
      output_file_id: null,
    })
    await advance(30_000)
    expect((await retrieve()).status).toBe('finalizing')
    await advance(1_000)
    const done = await retrieve()
    expect(done).toMatchObject({
      status: 'completed',
      request_counts: { total: 60, completed: 60, failed: 0 },
      errors: null,
    })
    expect(done.completed_at).toBe(created.created_at + 62)
    const lines = await outputOf(done.output_file_id)
    expect(new Set(lines.map((row) => row.custom_id)).size).toBe(60)
    for (const row of lines) expect(row.response?.body.choices?.[0]?.message.content).toContain(row.custom_id.slice(5))
    expect(await outputOf(done.error_file_id)).toEqual([])
    expect((await deploymentState(under, 'bulk')).enqueued_tokens).toBe(0)
  })

  test('the output is not in the order of the input, as Azure warns', async () => {
    const created = await submit(jsonl(Array.from({ length: 50 }, (_, i) => line(i))))
    await advance(hourMs)
    const ids = (await outputOf((await under.openai.batches.retrieve(created.id)).output_file_id)).map(
      (row) => row.custom_id,
    )
    expect(ids).not.toEqual(Array.from({ length: 50 }, (_, i) => `line-${i}`))
    expect(ids).toHaveLength(50)
  })

  test('lines that fail go to the error file with the status that a call would have had', async () => {
    const lines = [
      line(1),
      line(2, {}, 'bad [content_filter=hate]'),
      line(3, { body: { model: 'bulk', messages: 'no' } }),
    ]
    const created = await submit(jsonl(lines))
    await advance(hourMs)
    const done = await under.openai.batches.retrieve(created.id)
    expect(done).toMatchObject({ status: 'completed', request_counts: { total: 3, completed: 1, failed: 2 } })
    const failed = await outputOf(done.error_file_id)
    expect(failed.find((row) => row.custom_id === 'line-2')?.response).toMatchObject({
      status_code: 400,
      body: { error: { code: 'content_filter' } },
    })
    expect(failed.find((row) => row.custom_id === 'line-3')?.response?.status_code).toBe(400)
    expect((await outputOf(done.output_file_id)).map((row) => row.custom_id)).toEqual(['line-1'])
  })

  test.each<[string, string, string, number | null]>([
    ['empty_file', 'no bytes', '', null],
    ['empty_batch', 'blank lines', '\n\n', null],
    ['invalid_json_line', 'broken JSON', `${jsonl([line(1)])}{"custom_id":\n`, 2],
    ['invalid_json_line', 'half a line at the end', `${jsonl([line(1)])}${JSON.stringify(line(2)).slice(0, 40)}`, 2],
    ['invalid_json_line', 'a byte order mark', `\uFEFF${jsonl([line(1)])}`, 1],
    ['duplicate_custom_id', 'an id twice', jsonl([line(1), line(1)]), 2],
    ['invalid_request', 'no custom_id', jsonl([line(1, { custom_id: undefined })]), 1],
    ['invalid_request', 'another method', jsonl([line(1, { method: 'GET' })]), 1],
    ['invalid_request', 'no body', jsonl([line(1, { body: undefined })]), 1],
    ['url_mismatch', 'another url', jsonl([line(1), line(2, { url: '/embeddings' })]), 2],
    ['model_not_found', 'an unknown deployment', jsonl([line(1, { body: { model: 'nowhere', messages: [] } })]), 1],
    ['model_mismatch', 'two deployments', jsonl([line(1), line(2, { body: { model: 'online', messages: [] } })]), 2],
    [
      'invalid_request',
      'a deployment without the batch SKU',
      jsonl([line(1, { body: { model: 'online', messages: [] } })]),
      1,
    ],
    ['too_many_tasks', 'more lines than allowed', jsonl(Array.from({ length: 121 }, (_, i) => line(i, {}, 'x'))), null],
    ['token_limit_exceeded', 'more tokens than may be enqueued', jsonl([line(1, {}, 'x'.repeat(9_000))]), null],
  ])('validation fails with %s for %s', async (code, _what, content, number) => {
    const created = await submit(content)
    await advance(1_000)
    const failed = await under.openai.batches.retrieve(created.id)
    expect(failed.status).toBe('failed')
    expect(failed.errors?.data?.[0]).toMatchObject({ code, line: number })
    expect(failed.failed_at).toBeGreaterThan(0)
    expect(failed.output_file_id).toBeNull()
    expect((await deploymentState(under, 'bulk')).enqueued_tokens).toBe(0)
  })

  test('CRLF line ends and blank lines between are accepted', async () => {
    const created = await submit(jsonl([line(1), line(2)]).replaceAll('\n', '\r\n\r\n'))
    await advance(hourMs)
    expect(await under.openai.batches.retrieve(created.id)).toMatchObject({
      status: 'completed',
      request_counts: { total: 2, completed: 2 },
    })
  })

  test('enqueued tokens of running batches count together and come free when one ends', async () => {
    const half = jsonl([line(1, {}, 'x'.repeat(6_000))])
    const first = await submit(half)
    await advance(1_000)
    const second = await submit(half)
    await advance(900)
    expect((await under.openai.batches.retrieve(second.id)).status).toBe('validating')
    await advance(100)
    const refused = await under.openai.batches.retrieve(second.id)
    expect(refused.errors?.data?.[0]).toMatchObject({ code: 'token_limit_exceeded' })
    await advance(hourMs)
    expect((await under.openai.batches.retrieve(first.id)).status).toBe('completed')
    const third = await submit(half)
    await advance(hourMs)
    expect((await under.openai.batches.retrieve(third.id)).status).toBe('completed')
  })

  test('cancelling keeps what was done', async () => {
    const created = await submit(jsonl(Array.from({ length: 60 }, (_, i) => line(i))))
    await advance(21_000)
    expect((await under.openai.batches.cancel(created.id)).status).toBe('cancelling')
    await advance(1_000)
    const cancelled = await under.openai.batches.retrieve(created.id)
    expect(cancelled).toMatchObject({ status: 'cancelled', request_counts: { total: 60, completed: 20, failed: 0 } })
    expect(await outputOf(cancelled.output_file_id)).toHaveLength(20)
    await expect(under.openai.batches.cancel(created.id)).rejects.toMatchObject({ status: 409 })
  })

  test('a batch that its window leaves unfinished expires with partial output and an error line for the rest', async () => {
    await under.control('POST', 'deployments', {
      resource,
      deployment: 'bulk',
      settings: { batch: { lines_per_minute: 0.025 } },
    })
    const created = await submit(jsonl(Array.from({ length: 60 }, (_, i) => line(i))))
    await advance(23 * hourMs)
    expect((await under.openai.batches.retrieve(created.id)).status).toBe('in_progress')
    await advance(2 * hourMs)
    const expired = await under.openai.batches.retrieve(created.id)
    expect(expired.status).toBe('expired')
    expect(expired.expired_at).toBe(expired.expires_at)
    const [output, rest] = [await outputOf(expired.output_file_id), await outputOf(expired.error_file_id)]
    expect(output.length).toBe(35)
    expect(rest.every((row) => row.response === null && row.error?.code === 'batch_expired')).toBe(true)
    expect(new Set([...output, ...rest].map((row) => row.custom_id)).size).toBe(60)
    expect(expired.request_counts).toEqual({ total: 60, completed: 35, failed: 25 })
  })

  test('batches are listed newest first, by both clients', async () => {
    const ids = []
    for (let i = 0; i < 3; i++) ids.push((await submit(jsonl([line(i)]))).id)
    const listed = await under.openai.batches.list({ limit: 2 })
    expect(listed.data.map((row) => row.id)).toEqual([ids[2], ids[1]])
    expect(listed.has_more).toBe(true)
    const all = []
    for await (const batch of under.azure.batches.list({ limit: 2 })) all.push(batch.id)
    expect(all).toEqual(ids.toReversed())
  })

  test('create refuses a missing file, a wrong window, endpoint or purpose, and a file of another resource', async () => {
    const file = await upload(jsonl([line(1)]))
    const create = (fields: object) =>
      under.openai.batches.create({
        input_file_id: file.id,
        endpoint: '/v1/chat/completions',
        completion_window: '24h',
        ...fields,
      })
    await expect(create({ input_file_id: 'file-none' })).rejects.toMatchObject({ status: 400, param: 'input_file_id' })
    await expect(create({ completion_window: '1h' })).rejects.toMatchObject({ status: 400, param: 'completion_window' })
    await expect(create({ endpoint: '/v1/images' })).rejects.toMatchObject({ status: 400, param: 'endpoint' })
    const other = await under.openai.files.create({ file: await toFile(Buffer.from('x'), 'a'), purpose: 'assistants' })
    await expect(create({ input_file_id: other.id })).rejects.toMatchObject({ status: 400, param: 'input_file_id' })
    await expect(under.openai.batches.retrieve('batch_none')).rejects.toBeInstanceOf(NotFoundError)
  })

  test('files and batches of one resource do not exist in another', async () => {
    await under.close()
    const { startOpenAITwin } = await import('@sluice/emulator-openai')
    const twin = await startOpenAITwin({
      config: { resources: ['a', 'b'].map((name) => ({ name, keys: ['k'], deployments })) },
    })
    const [a, b] = ['a', 'b'].map((name) =>
      under.openai.withOptions({ apiKey: 'k', baseURL: `${twin.url}/r/${name}/openai/v1` }),
    )
    if (!a || !b) throw new Error('expected two clients')
    const batch = await submit(jsonl([line(1)]), a)
    await expect(b.batches.retrieve(batch.id)).rejects.toBeInstanceOf(NotFoundError)
    await expect(b.files.retrieve(batch.input_file_id)).rejects.toBeInstanceOf(NotFoundError)
    expect((await b.files.list()).data).toEqual([])
    await twin.close()
    under = await startTwin(deployments)
  })

  test('with a data folder, files and a half-done batch survive a restart and no line is answered twice', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'twin-test-'))
    await under.close()
    under = await startTwin(deployments, { clock: () => frozen, dataDir })
    const created = await submit(jsonl(Array.from({ length: 60 }, (_, i) => line(i))))
    await advance(31_000)
    expect((await under.openai.batches.retrieve(created.id)).request_counts?.completed).toBe(30)
    await under.close()
    under = await startTwin(deployments, { clock: () => frozen, dataDir })
    expect((await under.openai.batches.retrieve(created.id)).request_counts?.completed).toBe(30)
    expect((await deploymentState(under, 'bulk')).enqueued_tokens).toBeGreaterThan(0)
    await advance(hourMs)
    const done = await under.openai.batches.retrieve(created.id)
    expect(done.status).toBe('completed')
    const ids = (await outputOf(done.output_file_id)).map((row) => row.custom_id)
    expect(ids).toHaveLength(60)
    expect(new Set(ids).size).toBe(60)
    await rm(dataDir, { recursive: true })
  })
})
