import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import OpenAI, { AzureOpenAI, BadRequestError, NotFoundError, toFile } from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { lineBytes, upload as uploadGenerated } from '../../bench/batch-upload/generated-upload.ts'
import { eventually, startTestStack, type TestStack } from './test-stack.ts'

// Files and batches through every door with the unmodified SDK and with the command line; realtime as a browser does it.

const command = fileURLToPath(new URL('../../cli/bin/sluice.js', import.meta.url))
const run = promisify(execFile)
let stack: TestStack
let dir: string

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-doors-'))
  stack = await startTestStack()
}, 120_000)
afterAll(async () => {
  await stack.stop()
  rmSync(dir, { recursive: true, force: true })
}, 60_000)

const lines = (count: number, model = 'gpt-4.1-mini') =>
  Array.from({ length: count }, (_, at) =>
    JSON.stringify({
      custom_id: `line-${at}`,
      method: 'POST',
      url: '/v1/chat/completions',
      body: { model, messages: [{ role: 'user', content: `Say it. [difficulty=0] [answer=n${at}]` }], max_tokens: 200 },
    }),
  ).join('\n')

type Door = [name: string, client: () => OpenAI]
const key = () => stack.env.SLUICE_API_KEY ?? ''
const at = (path: string) => () =>
  new OpenAI({ apiKey: key(), baseURL: `${stack.env.INGEST_URL}${path}`, maxRetries: 0 })
const azure =
  (path: string, options: { deployment?: string } = {}) =>
  () =>
    new AzureOpenAI({
      ...options,
      apiKey: key(),
      endpoint: `${stack.env.INGEST_URL}${path}`,
      apiVersion: '2025-04-01-preview',
      maxRetries: 0,
    })
const doors: Door[] = [
  ['OpenAI at /v1', at('/v1')],
  ['AzureOpenAI', azure('')],
  ['OpenAI at /openai-sticky/v1', at('/openai-sticky/v1')],
  ['AzureOpenAI of a deployment at /openai-sticky', azure('/openai-sticky', { deployment: 'gpt-4.1-mini' })],
]

const upload = async (client: OpenAI, text: string) =>
  client.files.create({ purpose: 'batch', file: await toFile(Buffer.from(text), 'lines.jsonl') })

test.concurrent.each(doors)('all nine operations: %s', async (name, open) => {
  const client = open()
  const file = await upload(client, lines(6))
  expect(file).toMatchObject({ object: 'file', purpose: 'batch', filename: 'lines.jsonl', sluice: { lines: 6 } })
  expect((await client.files.retrieve(file.id)).id).toBe(file.id)
  expect((await client.files.list({ limit: 100 })).data.map(({ id }) => id)).toContain(file.id)
  expect(await (await client.files.content(file.id)).text()).toBe(lines(6))

  const batch = await client.batches.create({
    input_file_id: file.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
    metadata: { run: name },
  })
  expect(batch).toMatchObject({ object: 'batch', status: 'validating', metadata: { run: name } })
  expect((await client.batches.list({ limit: 100 })).data.map(({ id }) => id)).toContain(batch.id)
  const done = await eventually(async () => {
    const now = await client.batches.retrieve(batch.id)
    const { total, completed, failed } = now.request_counts ?? { total: -1, completed: 0, failed: 0 }
    expect(completed + failed).toBeLessThanOrEqual(total)
    return now.status === 'completed' ? now : undefined
  }, `batch of ${name}`)
  expect(done.request_counts).toEqual({ total: 6, completed: 6, failed: 0 })
  const output = await (await client.files.content(done.output_file_id ?? '')).text()
  const results = output
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { custom_id: string; response: { body: OpenAI.ChatCompletion } })
  expect(results.map(({ custom_id }) => custom_id)).toEqual(Array.from({ length: 6 }, (_, n) => `line-${n}`))
  for (const [n, { response }] of results.entries()) {
    expect(response.body.choices[0]?.message.content).toContain(`n${n}`)
  }

  const cancelled = await client.batches.create({
    input_file_id: file.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  })
  expect(['cancelling', 'cancelled', 'finalizing']).toContain((await client.batches.cancel(cancelled.id)).status)
  expect(await client.files.delete(file.id)).toMatchObject({ id: file.id, deleted: true })
  await expect(client.files.retrieve(file.id)).rejects.toBeInstanceOf(NotFoundError)
})

test('a sticky file runs where it was pinned', async () => {
  const client = at('/openai-sticky/v1')()
  const file = (await upload(client, lines(3))) as OpenAI.FileObject & { sluice: { region: string } }
  expect(['swedencentral', 'eastus2']).toContain(file.sluice.region)
  const { id } = await client.batches.create({
    input_file_id: file.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  })
  const done = (await eventually(async () => {
    const now = await client.batches.retrieve(id)
    return now.status === 'completed' ? now : undefined
  }, 'the sticky batch')) as OpenAI.Batch & { sluice: { regions: string[] } }
  expect(done.sluice.regions).toEqual([file.sluice.region])
})

test('a download goes on where it stopped', async () => {
  const client = at('/v1')()
  const { id, bytes } = await upload(client, lines(50))
  const range = (value: string) => stack.api(`/v1/files/${id}/content`, { headers: { range: value } })
  const rest = await range('bytes=100-')
  expect([rest.status, rest.headers.get('content-range')]).toEqual([206, `bytes 100-${bytes - 1}/${bytes}`])
  expect(await rest.text()).toBe(lines(50).slice(100))
  expect((await range(`bytes=${bytes}-`)).status).toBe(416)
  expect((await range('items=1-2')).status).toBe(200)
})

test.each([
  ['another purpose', 'assistants', lines(1), 'purpose'],
  ['an empty file', 'batch', '', 'file'],
  ['no line that can run', 'batch', 'not json\n', 'file'],
])('an upload with %s is refused and says why', async (_, purpose, text, param) => {
  const file = await toFile(Buffer.from(text), 'x.jsonl')
  const refused = at('/v1')().files.create({ purpose: purpose as 'batch', file })
  await expect(refused).rejects.toMatchObject({ status: 400, param })
  await expect(refused).rejects.toBeInstanceOf(BadRequestError)
})

const form = (...parts: [name: string, value: string | Blob][]) => {
  const data = new FormData()
  for (const [name, value] of parts) {
    if (typeof value === 'string') data.append(name, value)
    else data.append(name, value, 'f.jsonl')
  }
  return data
}
const post = (body: RequestInit['body'], headers: Record<string, string> = {}) =>
  fetch(`${stack.env.INGEST_URL}/v1/files`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key()}`, ...headers },
    body: body ?? null,
    signal: AbortSignal.timeout(15_000),
  })

test.each([
  ['no file', () => form(['purpose', 'batch'])],
  ['a file in another field', () => form(['purpose', 'batch'], ['data', new Blob(['x'])])],
  ['two files', () => form(['purpose', 'batch'], ['file', new Blob([lines(1)])], ['file', new Blob([lines(1)])])],
  ['no purpose', () => form(['file', new Blob([lines(1)])])],
  ['a very long field', () => form(['purpose', 'x'.repeat(20_000)], ['file', new Blob([lines(1)])])],
])('a form with %s is refused', async (_, body) => {
  const answer = await post(body())
  expect(answer.status).toBe(400)
  expect(((await answer.json()) as { error: { type: string } }).error.type).toBe('invalid_request_error')
})

test('bodies that are no form are refused', async () => {
  expect((await post('{}', { 'content-type': 'application/json' })).status).toBe(415)
  expect((await post('x', { 'content-type': 'multipart/form-data' })).status).toBe(400)
})

test('an upload that is cut off leaves no file', async () => {
  const before = (await at('/v1')().files.list({ limit: 100 })).data.length
  const { hostname, port } = new URL(stack.env.INGEST_URL ?? '')
  const socket = connect(Number(port), hostname)
  const head = '--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
  socket.write(
    `POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key()}\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 100000\r\n\r\n${head}${lines(20)}`,
  )
  await new Promise((resolve) => socket.write('\n', resolve))
  socket.resetAndDestroy()
  expect((await stack.api('/health/ready', { key: null })).status).toBe(200)
  expect((await at('/v1')().files.list({ limit: 100 })).data.length).toBe(before)
})

// Linux alone tells what a process has in memory at most, and forgets it when asked.
test.runIf(process.platform === 'linux')('a file passes through ingest without being held', async () => {
  const process = `/proc/${stack.processes.get('ingest')?.pid}`
  const megabytes = (name: 'VmRSS' | 'VmHWM') =>
    Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync(`${process}/status`, 'utf8'))?.[1]) / 1024
  writeFileSync(`${process}/clear_refs`, '5')
  const before = megabytes('VmRSS')
  const count = 40_000
  const file = await uploadGenerated({ url: stack.env.INGEST_URL ?? '', key: key() }, count, 120_000)
  expect(file).toMatchObject({ bytes: count * lineBytes, sluice: { lines: count } })
  expect(megabytes('VmHWM') - before).toBeLessThan(file.bytes / 1024 ** 2)
})

const sluice = (...args: string[]) =>
  run(process.execPath, [command, 'batch', ...args], {
    cwd: dir,
    env: { ...process.env, SLUICE_URL: stack.env.INGEST_URL, SLUICE_API_KEY: key() },
    timeout: 60_000,
  })

test('the command line submits, watches, lists and downloads', async () => {
  writeFileSync(join(dir, 'work.jsonl'), `${lines(8)}\nnot json\n`)
  const submitted = await sluice('submit', 'work.jsonl', '--deadline', '6h', '--watch')
  const id = submitted.stdout.trim()
  expect(id).toMatch(/^batch_/)
  expect(submitted.stderr).toContain('1 lines cannot run')
  expect(submitted.stderr).toMatch(/\[#+\.*\] 9\/9 {2}1 failed/)
  expect((await sluice('status', id)).stdout).toContain('completed')
  expect((await sluice('list', '--limit', '5')).stdout).toContain(id)
  await sluice('download', id, '--out', 'out.jsonl')
  const whole = readFileSync(join(dir, 'out.jsonl'), 'utf8')
  expect(whole.trimEnd().split('\n')).toHaveLength(8)
  const { output_file_id: output } = JSON.parse((await sluice('status', id, '--json')).stdout) as {
    output_file_id: string
  }
  writeFileSync(join(dir, `again.jsonl.${output}.part`), whole.slice(0, 200))
  // Of another download to the same place.
  writeFileSync(join(dir, 'again.jsonl.file-0.part'), 'something else')
  await sluice('download', id, '--out', 'again.jsonl')
  expect(readFileSync(join(dir, 'again.jsonl'), 'utf8')).toBe(whole)
  await sluice('download', id, '--errors', '--out', 'errors.jsonl')
  expect(readFileSync(join(dir, 'errors.jsonl'), 'utf8').trimEnd().split('\n')).toHaveLength(1)
  await expect(sluice('status', 'batch_unknown')).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining('no batch') as string,
  })
  await expect(sluice('submit', 'work.jsonl', '--deadline', 'soon')).rejects.toMatchObject({ code: 1 })
})

test.each([
  ['/v1/realtime/client_secrets', { session: { type: 'realtime', model: 'gpt-realtime' } }, 'gpt-realtime'],
  ['/api/ModelRouter', { message: 'Hello', userId: 'u1', sessionId: 's1', mode: 'realtime' }, 'gpt-realtime-mini'],
])('a token from %s opens a realtime session in a browser', async (path, body, model) => {
  const answer = (await (await stack.api(path, { method: 'POST', body: JSON.stringify(body) })).json()) as {
    value?: string
    token?: string
    sluice?: { webrtc_url: string }
    webrtc_url?: string
  }
  expect(answer.webrtc_url ?? answer.sluice?.webrtc_url).toMatch(/^https:/)
  // What a browser can set: no headers, only sub-protocols.
  const socket = new WebSocket(`${stack.env.INGEST_URL?.replace('http', 'ws')}/v1/realtime`, [
    'realtime',
    `openai-insecure-api-key.${answer.value ?? answer.token}`,
  ])
  try {
    const created = await new Promise<string>((resolve, reject) => {
      socket.addEventListener('message', ({ data }) => resolve(String(data)), { once: true })
      socket.addEventListener('close', ({ code }) => reject(new Error(`closed with ${code}`)))
    })
    expect(JSON.parse(created)).toMatchObject({ type: 'session.created', session: { model } })
  } finally {
    socket.close()
  }
})

test('a queued stream tells what its worker does, chunk by chunk, and ends with the whole answer', async () => {
  const body = {
    model: 'small',
    stream: true,
    messages: [{ role: 'user', content: 'Say it. [answer=abc]' }],
    max_tokens: 50,
  }
  const line = { custom_id: 'told', method: 'POST', url: '/v1/chat/completions', body }
  const made = await stack.api('/v1/requests', { method: 'POST', body: JSON.stringify(line) })
  const { id } = (await made.json()) as { id: string }
  const text = await (await stack.api(`/v1/requests/${id}/events`)).text()
  const events = [...text.matchAll(/^event: (\w+)\ndata: (.*)$/gm)].map(([, name, data]) => ({
    name,
    data: JSON.parse(data ?? '') as { chunk?: { choices?: { delta: { content?: string } }[] }; result?: unknown },
  }))
  const names = events.map(({ name }) => name)
  expect(names.slice(0, 3)).toEqual(['queued', 'started', 'delta'])
  expect(names.at(-1)).toBe('finished')
  const streamed = events.map(({ data }) => data.chunk?.choices?.[0]?.delta.content ?? '').join('')
  expect(streamed).not.toBe('')
  expect(events.at(-1)?.data.result).toMatchObject({
    response: { status_code: 200, body: { choices: [{ message: { content: streamed } }] } },
  })
})

test('an SDK that prefers to be queued gets its answer all the same, when it is there in time', async () => {
  const body = { model: 'small', messages: [{ role: 'user' as const, content: 'hi' }] }
  const { data, response } = await at('/v1')()
    .chat.completions.create(body, { headers: { prefer: 'respond-async, wait=30' } })
    .withResponse()
  expect(data.choices[0]?.message.content).toEqual(expect.any(String))
  expect(response.headers.get('preference-applied')).toBe('wait=30')
  const stored = await stack.api(`/v1/requests/${response.headers.get('x-sluice-request-id')}`)
  expect(await stored.json()).toMatchObject({ status: 'succeeded', result: { response: { body: { id: data.id } } } })
})

test('sound is queued both ways: bytes and text come as from the synchronous call', async () => {
  const client = at('/v1')()
  const words = 'The order leaves on Friday.'
  const prefer = (value: string) => ({ headers: { prefer: value } })
  const asked = { model: 'gpt-4o-mini-tts', voice: 'alloy', input: words, response_format: 'wav' } as const
  const spoken = await client.audio.speech.create(asked, prefer('respond-async, wait=30'))
  expect(spoken.headers.get('preference-applied')).toBe('wait=30')
  expect(spoken.headers.get('content-type')).toBe('audio/wav')
  const sound = Buffer.from(await spoken.arrayBuffer())
  expect(sound).toEqual(Buffer.from(await (await client.audio.speech.create(asked)).arrayBuffer()))

  const heard = { model: 'gpt-4o-transcribe', file: await toFile(sound, 'order.wav') }
  const answer = await client.audio.transcriptions.create(heard, prefer('respond-async, wait=30'))
  expect(answer.text).toBe(words)
  const queued = await client.audio.transcriptions.create(heard, prefer('respond-async')).asResponse()
  expect(queued.status).toBe(202)
  const ended = await stack.api(`${queued.headers.get('location')}?wait=30`)
  expect(await ended.json()).toMatchObject({
    status: 'succeeded',
    decision: { model: 'gpt-4o-transcribe' },
    result: { response: { body: { text: words } }, sluice: { usage: { output_tokens: expect.any(Number) as number } } },
  })

  const line = { custom_id: 'said', method: 'POST', url: '/v1/audio/speech', body: asked }
  const made = await stack.api('/v1/requests', { method: 'POST', body: JSON.stringify(line) })
  const { id } = (await made.json()) as { id: string }
  const { result } = (await (await stack.api(`/v1/requests/${id}?wait=30`)).json()) as {
    result: { response: { body_ref: { url: string } } }
  }
  expect(Buffer.from(await (await fetch(result.response.body_ref.url)).arrayBuffer())).toEqual(sound)
})
