import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fuzzRoutes } from './fuzz-routes.ts'
import { chatLine, type DoorFixture, platformKey, sseEvents, startDoor } from './ingest-fixture.ts'

let door: DoorFixture
beforeAll(async () => {
  door = await startDoor({ env: { BODY_LIMIT: '100000', DRAIN_MS: '20000' } })
}, 60_000)
afterAll(() => door.stop(), 60_000)

const open = (url = door.url): Socket => {
  const { hostname, port } = new URL(url)
  return connect(Number(port), hostname).setTimeout(20_000)
}
/** Everything that comes until the door closes the connection. */
async function rest(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1'))).on('error', () => undefined)
  await once(socket, 'close')
  return text
}
const head = (...lines: string[]) =>
  `${['POST /v1/requests HTTP/1.1', 'Host: x', `Authorization: Bearer ${platformKey}`, ...lines].join('\r\n')}\r\n\r\n`
const answers = async () => (await door.api('/health/live', { key: null })).status

describe('on the wire', () => {
  test('a body that dribbles is ended with 408, while an upload may take its time as long as it comes', async () => {
    const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
    const uploadHead = head('Content-Type: application/x-ndjson', 'Connection: close', 'Transfer-Encoding: chunked')
    const { url } = await door.another({ BODY_TIMEOUT_MS: '1500', UPLOAD_BYTES_PER_SECOND: '4000' })
    const slow = open(url)
    slow.write(`${head('Content-Type: application/json', 'Content-Length: 5000')}{"custom_id"`)
    const stalled = open(url)
    stalled.write(uploadHead)
    const form = open(url)
    form.write(
      'POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nPrefer: respond-async\r\nTransfer-Encoding: chunked\r\n' +
        `Authorization: Bearer ${platformKey}\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n` +
        chunk('--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'),
    )
    const steady = open(url)
    steady.write(uploadHead)
    const filling = setInterval(() => {
      steady.write(chunk(`${' '.repeat(4_000)}\n`))
      // It goes on, at a quarter of the pace that it should have.
      if (form.writable) form.write(chunk('x'.repeat(100)))
    }, 100)
    const [dribbled, ended, crawled] = await Promise.all([rest(slow), rest(stalled), rest(form)])
    clearInterval(filling)
    expect(crawled).toMatch(/^HTTP\/1\.1 408 [^]*too slow/)
    expect(dribbled).toMatch(/^HTTP\/1\.1 408 /)
    expect(dribbled).toContain('"param":"body"')
    expect(ended).not.toContain('"status":202')
    steady.write(`${chunk(JSON.stringify(chatLine('late')))}0\r\n\r\n`)
    const taken = await rest(steady)
    expect(taken).toMatch(/^HTTP\/1\.1 207 /)
    expect(taken).toContain('"status":202')
  })

  test.each<[string, string]>([
    ['two lengths', head('Content-Type: application/json', 'Content-Length: 5', 'Content-Length: 6')],
    ['a length and chunks', head('Content-Length: 5', 'Transfer-Encoding: chunked')],
    ['a space before the colon', head('Content-Length : 5')],
    ['a header with a line break', head('X-A: b\n c')],
    ['no such method', 'BREW /v1/requests HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['headers without end', `GET / HTTP/1.1\r\nHost: x\r\n${'X-Filler: '.padEnd(20_000, 'y')}\r\n\r\n`],
    ['no HTTP', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ])('%s: refused, and nobody else notices', async (_, bytes) => {
    const socket = open()
    socket.end(bytes)
    expect(await rest(socket)).toMatch(/^(HTTP\/1\.1 4\d\d |$)/)
    expect(await answers()).toBe(200)
  })

  test('a client that leaves in the middle of its body leaves nothing behind', async () => {
    for (const type of ['application/json', 'application/x-ndjson']) {
      const socket = open()
      socket.write(`${head(`Content-Type: ${type}`, 'Content-Length: 5000')}{"custom_id":`)
      await once(socket, 'connect')
      socket.destroy()
    }
    expect(await answers()).toBe(200)
  })
})

describe('bodies', () => {
  const post = (body: NonNullable<RequestInit['body']>, headers: Record<string, string> = {}, path = '/v1/requests') =>
    door.api(path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } })

  test('that are too large are a 413 which the client can read', async () => {
    for (const path of ['/v1/requests', '/v1/keys', '/v1/chat/completions']) {
      const answer = await post('x'.repeat(3_000_000), {}, path)
      expect(answer.status).toBe(413)
      expect(await answer.json()).toMatchObject({ error: { code: 'message_too_large', param: 'body' } })
    }
  })

  test.each<[string, NonNullable<RequestInit['body']>, number]>([
    ['cut off', '{"custom_id":"a","met', 400],
    ['empty', '', 400],
    ['not UTF-8', new Uint8Array([0x7b, 0xff, 0xfe, 0x7d]), 400],
    ['deeply nested', '['.repeat(90_000), 400],
    ['a prototype’s', JSON.stringify({ ...chatLine('p'), __proto__x: 1, constructor: {} }), 400],
  ])('that are %s are refused', async (_, body, status) => {
    expect((await post(body)).status).toBe(status)
  })
})

describe('a path', () => {
  test.each<[method: string, path: string, allow: string]>([
    ['GET', '/v1/chat/completions', 'POST'],
    ['DELETE', '/v1/embeddings?x=1', 'POST'],
    ['GET', '/openai/v1/responses', 'POST'],
    ['PUT', '/openai/deployments/gpt-4.1/chat/completions?api-version=2024-10-21', 'POST'],
    ['PATCH', '/openai-realtime/v1/embeddings', 'POST'],
    ['PUT', '/v1/requests', 'GET, HEAD, POST'],
    ['POST', `/v1/requests/req_${'0'.repeat(32)}`, 'DELETE, GET, HEAD'],
    ['POST', '/v1/models', 'GET, HEAD'],
    ['PATCH', '/openai-sticky/v1/files', 'GET, HEAD, POST'],
    ['POST', '/health/ready', 'GET, HEAD'],
    ['POST', '/v1/realtime/sessions', 'GET, HEAD'],
  ])('%s %s is a 405 that names %s', async (method, path, allow) => {
    const answer = await door.api(path, { method })
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, allow])
    const error = {
      code: 'method_not_allowed',
      type: 'invalid_request_error',
      param: null,
      message: expect.any(String),
    }
    expect(await answer.json()).toEqual({ error })
  })

  test('of a WebSocket says so to a plain request', async () => {
    const answer = await door.api('/v1/realtime?model=gpt-realtime')
    expect([answer.status, answer.headers.get('upgrade')]).toEqual([426, 'websocket'])
    expect(await answer.json()).toMatchObject({ error: { param: 'Upgrade' } })
  })

  test.each([
    ['GET', '/v2/models'],
    ['GET', '/openai/v1/nothing'],
    ['POST', '/openai/v1/nothing'],
    ['POST', '/v1/chat/completions/'],
    ['POST', '/openai-realtime/v1/audio/speech'],
    ['PROPFIND', '/v1/nothing'],
  ])('%s %s is a 404', async (method, path) => {
    const answer = await door.api(path, { method, headers: { 'content-type': 'application/json' } })
    expect([answer.status, answer.headers.get('allow')]).toEqual([404, null])
    expect(await answer.json()).toMatchObject({ error: { code: 'not_found', type: 'invalid_request_error' } })
  })
})

test('no prompt and no key reaches the logs', async () => {
  const secret = 'the-prompt-that-nobody-may-log'
  await door.api('/v1/requests', { json: chatLine('s', {}, { messages: [{ role: 'user', content: secret }] }) })
  await door.api('/v1/requests', { json: chatLine('s', {}, { messages: secret }) })
  await door.api('/v1/chat/completions', { json: { model: 'small', messages: [{ role: 'user', content: secret }] } })
  await door.api('/v1/requests', { json: { ...chatLine('s'), url: secret } })
  expect(door.logs.length).toBeGreaterThan(0)
  expect(door.logs.join('\n')).not.toContain(secret)
  expect(door.logs.join('\n')).not.toContain(platformKey)
})

test('answers are timed by route, never by what a path holds', async () => {
  const id = `req_${'5'.repeat(32)}`
  await door.api(`/v1/requests/${id}`)
  const text = await (await door.api('/metrics', { key: null })).text()
  expect(text).toMatch(/sluice_http_answer_seconds_count\{.*route="\/v1\/requests\/:id",status="404".*\} [1-9]/)
  expect(text).not.toContain(id)
})

test('readiness names every dependency with its latency', async () => {
  const { checks } = (await (await door.api('/health/ready', { key: null })).json()) as {
    checks: Record<string, unknown>
  }
  expect(Object.keys(checks).toSorted()).toEqual(['blob', 'cosmos', 'redis', 'service-bus', 'signalr'])
  for (const check of Object.values(checks)) expect(check).toMatchObject({ ok: true, ms: expect.any(Number) })
})

const theirSecret = 'only-contoso-knows'
const keyOf = async (tenant: string, scopes: string[]) => {
  const made = await door.api('/v1/keys', { json: { tenant, scopes, name: `${tenant} ${theirSecret}` } })
  return (await made.json()) as { id: string; key: string }
}

test('no route answers with an internal error, hangs, or tells one tenant of another', async () => {
  const theirs = await keyOf('contoso', ['admin'])
  const mine = (await (await door.api('/v1/keys', { json: { scopes: ['admin'] } })).json()) as { key: string }
  const made = await door.api('/v1/requests', {
    json: chatLine(theirSecret, {}, { messages: [{ role: 'user', content: theirSecret }] }),
    key: theirs.key,
  })
  const { id } = (await made.json()) as { id: string }
  const own = (await (await door.api('/v1/requests', { json: chatLine('mine'), key: mine.key })).json()) as {
    id: string
  }
  const common = { url: door.url, ids: [id, theirs.id, own.id], timeoutMs: 30_000 }

  const asTenant = await fuzzRoutes({ ...common, key: mine.key, seed: 20_261_121, rounds: 8, secrets: [theirSecret] })
  expect(asTenant.findings).toEqual([])
  // Whatever was tried, what is theirs is as it was.
  const theirsNow = await door.api(`/v1/requests/${id}`, { key: theirs.key })
  expect(await theirsNow.json()).toMatchObject({ id, status: 'accepted', custom_id: theirSecret })
  // An operator may delete their key, so nothing is asked with it after this.
  const asOperator = await fuzzRoutes({ ...common, key: platformKey, seed: 7, rounds: 3, secrets: [] })
  expect(asOperator.findings).toEqual([])
  expect(asTenant.requests).toBeGreaterThan(200)
}, 180_000)

// The last test: the door is closed afterwards.
test('on SIGTERM newcomers hear 503 and Retry-After while a stream goes on, which ends within the grace', async () => {
  const made = (await (await door.api('/v1/requests', { json: chatLine('drained') })).json()) as { id: string }
  const events = sseEvents(await door.api(`/v1/requests/${made.id}/events`))
  expect((await events.next()).value).toMatchObject({ event: 'queued' })
  const stopped = door.process.stop()
  const refused = await (async () => {
    for (;;) {
      const answer = await door.api('/v1/requests')
      if (answer.status !== 200) return answer
    }
  })()
  expect(refused.status).toBe(503)
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(await refused.json()).toMatchObject({ error: { code: 'shutting_down' } })
  await door.finish('local', made.id, { body: { done: true } })
  const seen = []
  for await (const { event } of events) seen.push(event)
  expect(seen).toEqual(['started', 'finished'])
  await stopped
  expect(door.logs.some((line) => line.includes('"state":"stopped"'))).toBe(true)
})
