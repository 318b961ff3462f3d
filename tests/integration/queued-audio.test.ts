import { once } from 'node:events'
import { connect } from 'node:net'
import { ContainerClient } from '@azure/storage-blob'
import type { Row } from '@sluice/ledger'
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type DoorFixture, platformKey, startDoor } from './ingest-fixture.ts'

const tenant = 'local'
const formLimit = 200_000
let door: DoorFixture
let container: ContainerClient
beforeAll(async () => {
  door = await startDoor({ env: { FORM_LIMIT: String(formLimit), WATCHERS_PER_TENANT: '1' } })
  container = new ContainerClient(door.connections.AZURE_STORAGE_CONNECTION_STRING ?? '', 'sluice')
}, 60_000)
afterAll(() => door.stop(), 60_000)

type Part = [name: string, value: string | Buffer]
const recording: Part = ['file', Buffer.from('RIFF of a recording')]
const form = (...parts: Part[]) => {
  const data = new FormData()
  for (const [name, value] of parts) {
    if (typeof value === 'string') data.append(name, value)
    else data.append(name, new Blob([value], { type: 'audio/wav' }), 'speech.wav')
  }
  return data
}
const send = (body: FormData | string, headers: Record<string, string> = {}, path = '/v1/audio/transcriptions') =>
  door.api(path, { method: 'POST', body, headers: { prefer: 'respond-async', ...headers } })

const recordings = async (): Promise<string[]> => {
  const names: string[] = []
  for await (const { name } of container.listBlobsFlat({ prefix: `${tenant}/requests/files/` })) names.push(name)
  return names
}
const queued = async (answer: Response): Promise<Row> => {
  expect(answer.status).toBe(202)
  const row = await door.ledger.get(tenant, ((await answer.json()) as { id: string }).id)
  if (row === undefined) throw new Error('the request is not stored')
  return row
}
const errorOf = async (answer: Response) => ((await answer.json()) as { error: { param: string; code: string } }).error

describe('a recording that is queued', () => {
  test('lies in Blob beside a row with its fields, in every spelling', async () => {
    const fields: Part[] = [
      ['model', 'gpt-4o-transcribe'],
      ['timestamp_granularities[]', 'word'],
      ['timestamp_granularities[]', 'segment'],
    ]
    for (const path of [
      '/v1/audio/transcriptions',
      '/openai/v1/audio/transcriptions',
      '/openai/deployments/gpt-4o-transcribe/audio/transcriptions?api-version=2025-04-01-preview',
    ]) {
      const options: Part = ['sluice', '{"priority":"bulk"}']
      const row = await queued(await send(form(recording, ...fields, options), {}, path))
      expect(row.lane).toBe('requests-bulk')
      expect(row.body).toEqual({ model: 'gpt-4o-transcribe', timestamp_granularities: ['word', 'segment'] })
      const ref = row.line.file_ref
      expect(ref).toMatchObject({ bytes: 19, content_type: 'audio/wav', filename: 'speech.wav' })
      const stored = await container.getBlobClient(ref?.blob ?? '').downloadToBuffer()
      expect(stored).toEqual(recording[1])
    }
  })

  test('without a name is given none', async () => {
    const part = 'Content-Disposition: form-data; name="file"; filename=""\r\nContent-Type: audio/wav'
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    const row = await queued(await send(`--b\r\n${part}\r\n\r\nRIFF\r\n--b--\r\n`, headers))
    expect(row.line.file_ref).not.toHaveProperty('filename')
  })

  test('and sent again is the same request, with nothing stored twice; another one is a 409', async () => {
    const headers = { 'idempotency-key': 'said-once' }
    const first = await queued(await send(form(recording), headers))
    const before = await recordings()
    expect((await queued(await send(form(recording), headers))).id).toBe(first.id)
    expect((await send(form(['file', Buffer.from('another')]), headers)).status).toBe(409)
    expect(await recordings()).toEqual(before)
  })

  test('is answered as the synchronous call would be: subtitles as text, sound as bytes', async () => {
    const answerOf = async (asked: Promise<Response>, key: string, body: unknown, contentType: string) => {
      const row = await vi.waitFor(
        async () => {
          const { rows } = await door.ledger.list(tenant, { customId: key, limit: 1 })
          expect(rows).toHaveLength(1)
          return rows[0]!
        },
        { timeout: 15_000, interval: 20 },
      )
      await door.finish(tenant, row.id, { body, contentType })
      const answer = await asked
      expect(answer.status).toBe(200)
      expect(answer.headers.get('content-type')).toContain(contentType)
      return Buffer.from(await answer.arrayBuffer())
    }
    const prefer = 'respond-async, wait=20'
    const subtitles = '1\n00:00:00,000 --> 00:00:01,000\nHello\n'
    const asked = send(form(recording, ['response_format', 'srt']), { prefer, 'idempotency-key': 'srt' })
    expect((await answerOf(asked, 'srt', subtitles, 'text/plain')).toString()).toBe(subtitles)
    const long = subtitles.repeat(1_000)
    const asking = send(form(recording), { prefer, 'idempotency-key': 'long' })
    expect((await answerOf(asking, 'long', long, 'text/plain')).toString()).toBe(long)
    const sound = Buffer.from([0, 255, 1, 254])
    const json = { model: 'gpt-4o-mini-tts', input: 'Hello', voice: 'alloy' }
    const speaking = door.api('/v1/audio/speech', { json, headers: { prefer, 'idempotency-key': 'speech' } })
    expect(await answerOf(speaking, 'speech', sound, 'audio/mpeg')).toEqual(sound)
    const { rows } = await door.ledger.list(tenant, { customId: 'speech', limit: 1 })
    const shown = (await (await door.api(`/v1/requests/${rows[0]?.id}`)).json()) as {
      result: { response: { body_ref: { url: string; content_type: string } } }
    }
    const { url, content_type } = shown.result.response.body_ref
    expect(content_type).toBe('audio/mpeg')
    expect(Buffer.from(await (await fetch(url)).arrayBuffer())).toEqual(sound)
  })
})

describe('what is refused leaves nothing in storage', () => {
  test.each<[string, () => FormData | string, number, string]>([
    ['no file', () => form(['model', 'gpt-4o-transcribe']), 400, 'file'],
    ['an empty file', () => form(['file', Buffer.alloc(0)]), 400, 'file'],
    ['two files', () => form(recording, recording), 400, 'file'],
    ['a field given twice', () => form(recording, ['model', 'a'], ['model', 'b']), 400, 'model'],
    ['options that are no JSON', () => form(recording, ['sluice', '{']), 400, 'sluice'],
    ['an unknown option', () => form(recording, ['sluice', '{"prio":1}']), 400, 'sluice.prio'],
    ['a file that is too large', () => form(['file', Buffer.alloc(formLimit)]), 413, 'body'],
    ['a body that is no form', () => '{}', 415, 'Content-Type'],
  ])('%s', async (_, body, status, param) => {
    const before = await recordings()
    const sent = body()
    const answer = await send(sent, typeof sent === 'string' ? { 'content-type': 'application/json' } : {})
    expect(answer.status).toBe(status)
    expect((await errorOf(answer)).param).toBe(param)
    expect(await recordings()).toEqual(before)
  })

  test('a caller who leaves while the file comes, and who stops waiting thereby', async () => {
    const before = await recordings()
    const { hostname, port } = new URL(door.url)
    const socket = connect(Number(port), hostname)
    const lines = [
      'POST /v1/audio/transcriptions HTTP/1.1',
      'host: ingest',
      `authorization: Bearer ${platformKey}`,
      'prefer: respond-async, wait=1',
      'content-type: multipart/form-data; boundary=b',
      'content-length: 50000',
    ]
    const part = '--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF'
    socket.write(`${lines.join('\r\n')}\r\n\r\n${part}`)
    await once(socket, 'connect')
    let taken = 0
    const ask = async (): Promise<number> => {
      const { status } = await send(form(recording), { prefer: 'respond-async, wait=1' })
      if (status === 202) taken++
      return status
    }
    // One may wait at a time: it is the one above, until its caller leaves.
    await vi.waitFor(async () => expect(await ask()).toBe(429), { timeout: 15_000 })
    socket.destroy()
    await vi.waitFor(async () => expect(await ask()).toBe(202), { timeout: 15_000 })
    expect(await recordings()).toHaveLength(before.length + taken)
  })

  test('a file that grows too large while it comes, without a length', async () => {
    const before = await recordings()
    const head = '--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    async function* endless() {
      yield Buffer.from(head)
      for (let sent = 0; sent < 2 * formLimit; sent += 50_000) yield Buffer.alloc(50_000)
    }
    const answer = await fetch(`${door.url}/v1/audio/transcriptions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${platformKey}`,
        prefer: 'respond-async',
        'content-type': 'multipart/form-data; boundary=b',
      },
      body: endless(),
      duplex: 'half',
      signal: AbortSignal.timeout(20_000),
    })
    expect(answer.status).toBe(413)
    expect(await recordings()).toEqual(before)
  })

  test('speech without a text, and a line that names a recording which is not its tenant’s', async () => {
    const speech = await door.api('/v1/audio/speech', { json: { model: 'tts' }, headers: { prefer: 'respond-async' } })
    expect(speech.status).toBe(400)
    expect((await errorOf(speech)).param).toBe('input')
    const file_ref = { blob: 'fabrikam/x', sha256: '0'.repeat(64), bytes: 1, content_type: 'audio/wav' }
    const line = { custom_id: 'x', method: 'POST', url: '/v1/audio/transcriptions', body: {} }
    const others = await door.api('/v1/requests', { json: { ...line, file_ref } })
    expect(await errorOf(others)).toMatchObject({ code: 'body_ref_not_found' })
    expect((await errorOf(await door.api('/v1/requests', { json: line }))).param).toBe('file_ref')
  })
})

test('a transcription is streamed to the openai SDK to its end', async () => {
  const openai = new OpenAI({ apiKey: platformKey, baseURL: `${door.url}/v1`, maxRetries: 0 })
  const file = await toFile(Buffer.alloc(4_000, 1), 'a.wav')
  const stream = await openai.audio.transcriptions.create({ model: 'gpt-4o-transcribe', file, stream: true })
  const types: string[] = []
  for await (const { type } of stream) types.push(type)
  expect(types[0]).toBe('transcript.text.delta')
  expect(types.at(-1)).toBe('transcript.text.done')
})
