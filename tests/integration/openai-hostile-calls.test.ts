import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  chatBody,
  type Door,
  type DoorFixture,
  doorKey,
  fabrikamKey,
  RawClient,
  startDoorFixture,
  until,
} from './openai-door-fixture.ts'

let fixture: DoorFixture
let door: Door
beforeAll(async () => {
  fixture = await startDoorFixture()
  door = await fixture.open({ bodyLimit: 64 * 1024, formLimit: 256 * 1024 })
})
afterAll(async () => {
  await door.close()
  await fixture.close()
})
beforeEach(() => fixture.twin.reset())
const clients: RawClient[] = []
afterEach(() => {
  for (const client of clients.splice(0)) client.socket.destroy()
})

const chat = '/v1/chat/completions'
const raw = (): RawClient => {
  const client = new RawClient(door.port)
  clients.push(client)
  return client
}

async function call(body: string | Buffer, headers: Record<string, string> = {}, path = chat) {
  const answer = await fetch(`${door.url}${path}`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${doorKey}`, ...headers },
  })
  const text = await answer.text()
  return {
    status: answer.status,
    error: (JSON.parse(text) as { error?: { code: string; param: string | null } }).error,
  }
}

describe('bodies', () => {
  it.each([
    ['empty', '', 400, 'invalid_json', 'body'],
    ['cut off', '{"model":"gpt-4.1","messages":[', 400, 'invalid_json', 'body'],
    ['not JSON', 'model=gpt', 400, 'invalid_json', 'body'],
    ['a list', '[]', 400, 'invalid_json', 'body'],
    ['null', 'null', 400, 'invalid_json', 'body'],
    ['not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 400, 'invalid_json', 'body'],
    ['too large', chatBody('x'.repeat(70_000)), 413, 'message_too_large', 'body'],
    ['a model that is no name', '{"model":7,"messages":[{"role":"user"}]}', 400, 'invalid_line', 'model'],
    ['deeply nested', `{"messages":${'['.repeat(20_000)}${']'.repeat(20_000)}}`, 400, 'invalid_json', 'body'],
  ])('%s', async (_name, body, status, code, param) => {
    expect(await call(body)).toEqual({ status, error: expect.objectContaining({ code, param }) as object })
    expect(await fixture.twin.calls()).toHaveLength(0)
  })

  it('tells nothing of a body that it could not read', async () => {
    const answer = await fetch(`${door.url}${chat}`, {
      method: 'POST',
      body: '{"messages":[{"role":"user","content":"private words" oops',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${doorKey}` },
    })
    expect(await answer.text()).not.toContain('private')
    expect(door.log.join('')).not.toContain('private')
  })

  it.each([
    ['text', { 'content-type': 'text/plain' }],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['a compressed body', { 'content-encoding': 'gzip' }],
  ])('%s is a 415', async (_name, headers) => {
    expect((await call(chatBody(), headers)).status).toBe(415)
  })

  it('a type with parameters is as good', async () => {
    expect((await call(chatBody(), { 'content-type': 'application/json; charset=utf-8' })).status).toBe(200)
  })

  it('of two models neither gets past the router', async () => {
    const body = '{"model":"small","mod\\u0065l":"gpt-4.1","messages":[{"role":"user","content":"hi"}],"model":"large"}'
    expect((await call(body)).status).toBe(200)
    expect((await fixture.twin.calls()).map(({ deployment }) => deployment)).toEqual(['gpt'])
  })

  it('too large, without saying so first', async () => {
    const client = raw().send(
      `POST ${chat} HTTP/1.1\r\nhost: d\r\nauthorization: Bearer ${doorKey}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`,
    )
    for (let n = 0; n < 20; n++) client.send(`1000\r\n${'x'.repeat(4096)}\r\n`)
    client.send('0\r\n\r\n')
    await until(() => client.text.includes('message_too_large'), 'it is refused')
    expect(client.text).toMatch(/^HTTP\/1\.1 413 /)
  })
})

describe('bodies that are held at a time', () => {
  it('are bounded together: what is too much is a 503 before it is read; small ones and another tenant’s pass', async () => {
    const own = await fixture.open({ bodyLimit: 64 * 1024, formLimit: 64 * 1024, heldLimit: 120 * 1024 })
    const post = (body: string, path = chat, type = 'application/json', key = doorKey) =>
      fetch(`${own.url}${path}`, {
        method: 'POST',
        body,
        headers: { 'content-type': type, authorization: `Bearer ${key}` },
      })
    const heldBytes = async () =>
      Number(/^sluice_gateway_held_bytes\S* (\d+)$/m.exec((await own.metrics.render()).text)?.[1])
    try {
      const slow = new RawClient(own.port)
      clients.push(slow)
      const body = chatBody('x'.repeat(50 * 1024))
      const head = `POST ${chat} HTTP/1.1\r\nhost: d\r\nauthorization: Bearer ${doorKey}\r\ncontent-type: application/json\r\n`
      slow.send(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body.slice(0, 100)}`)
      let refused = await post(body)
      while (refused.status !== 503) refused = await post(body)
      expect(refused.headers.get('retry-after')).toBe('1')
      expect(await refused.json()).toMatchObject({ error: { code: 'no_capacity' } })
      const form = `--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n${'x'.repeat(50_000)}\r\n--b--\r\n`
      const upload = await post(form, '/v1/audio/transcriptions', 'multipart/form-data; boundary=b')
      expect(upload.status).toBe(503)
      expect((await post(chatBody())).status).toBe(200)
      expect((await post(body, chat, 'application/json', fabrikamKey)).status).toBe(200)
      expect(await heldBytes()).toBeGreaterThanOrEqual(Buffer.byteLength(body))

      slow.send(body.slice(100))
      await until(() => slow.text.startsWith('HTTP/1.1 '), 'the first one is answered')
      slow.socket.destroy()
      let room = await post(body)
      while (room.status === 503) room = await post(body)
      expect(room.status).toBe(200)
      await vi.waitFor(async () => expect(await heldBytes()).toBe(0), 10_000)
    } finally {
      await own.close()
    }
  })
})

describe('forms', () => {
  const form = (body: string, type = 'multipart/form-data; boundary=b') =>
    call(body, { 'content-type': type }, '/v1/audio/transcriptions')
  const file = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n'

  it.each([
    ['no boundary', file, 'multipart/form-data', 415, 'unsupported_media_type'],
    ['JSON', '{}', 'application/json', 415, 'unsupported_media_type'],
    ['no delimiter', 'nothing of the kind', undefined, 400, 'invalid_line'],
    ['cut off', file, undefined, 400, 'invalid_line'],
    ['a part without a name', '--b\r\nContent-Type: x\r\n\r\nv\r\n--b--\r\n', undefined, 400, 'invalid_line'],
    ['endless headers', `--b\r\nX: ${'x'.repeat(20_000)}`, undefined, 400, 'invalid_line'],
    [
      'too many parts',
      `${'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\nv\r\n'.repeat(100)}--b--\r\n`,
      undefined,
      400,
      'invalid_line',
    ],
    ['too large', `${file}${'x'.repeat(300_000)}`, undefined, 413, 'message_too_large'],
    [
      'an unknown model',
      `${file}--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nnope\r\n--b--\r\n`,
      undefined,
      404,
      'model_not_found',
    ],
  ])('%s', async (_name, body, type, status, code) => {
    expect(await form(body, type)).toEqual({ status, error: expect.objectContaining({ code }) as object })
  })
})

describe('HTTP', () => {
  const head = `POST ${chat} HTTP/1.1\r\nhost: d\r\nauthorization: Bearer ${doorKey}\r\ncontent-type: application/json\r\n`
  const hidden = `GET /v1/models HTTP/1.1\r\nhost: d\r\nauthorization: Bearer ${doorKey}\r\n\r\n`

  it.each([
    ['two lengths', `${head}content-length: 5\r\ncontent-length: 6\r\n\r\n{}`],
    [
      'a length and chunks',
      `${head}content-length: ${hidden.length}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
    ],
    ['chunks that are not the last coding', `${head}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n${hidden}`],
    ['a length that is no number', `${head}content-length: 1x\r\n\r\n{`],
    ['a space before the colon', `${head}content-length : 2\r\n\r\n{}`],
    ['a header split over lines', `${head}x-a: b\r\n c\r\ncontent-length: 2\r\n\r\n{}`],
    ['a chunk size that is none', `${head}transfer-encoding: chunked\r\n\r\n-1\r\n\r\n`],
  ])('%s: refused, and nothing behind it is read as a request', async (_name, text) => {
    const client = raw().send(text)
    await client.closed
    expect(client.text.match(/HTTP\/1\.1 /g) ?? []).toHaveLength(1)
    expect(client.text).toMatch(/^HTTP\/1\.1 400 /)
    expect(await fixture.twin.calls()).toHaveLength(0)
  })

  it('huge headers are refused', async () => {
    const client = raw().send(`${head}x-huge: ${'x'.repeat(64 * 1024)}\r\n\r\n`)
    await client.closed
    expect(client.text).toMatch(/^HTTP\/1\.1 431 /)
  })

  it('a body that does not come is not waited for', async () => {
    const impatient = await fixture.open({ requestTimeout: 1_000 })
    try {
      const client = new RawClient(impatient.port).post(chat, '{"model"', { 'content-length': 400 })
      await client.closed
      expect(client.text === '' || client.text.startsWith('HTTP/1.1 408 ')).toBe(true)
      await until(() => impatient.drain.inFlight === 0, 'it is over')
    } finally {
      await impatient.close()
    }
  })

  it('headers of the caller do not reach the provider', async () => {
    const headers = {
      'x-forwarded-for': '10.0.0.1',
      cookie: 'a=b',
      'api-key': 'another',
      'x-ms-client-request-id': 'mine',
    }
    expect((await call(chatBody(), headers)).status).toBe(200)
    const [seen] = await fixture.twin.calls()
    expect(seen?.client_request_id).not.toBe('mine')
    expect(JSON.stringify(seen?.headers)).not.toMatch(/10\.0\.0\.1|another/)
  })

  it('two calls on one connection are answered in turn', async () => {
    const client = raw().post(chat, chatBody('one')).post(chat, chatBody('two'))
    await until(() => (client.text.match(/"object":"chat\.completion"/g) ?? []).length === 2, 'both are answered')
  })
})
