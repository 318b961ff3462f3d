import { connect, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { chatLine, type DoorFixture, platformKey, startDoor } from './ingest-fixture.ts'

const mebibyte = 1024 * 1024
/** One tenant has half of it. */
const heldLimit = 8 * mebibyte
let door: DoorFixture
let fabrikam: string
beforeAll(async () => {
  const limits = { BODY_LIMIT: String(2 * mebibyte), FORM_LIMIT: String(4 * mebibyte) }
  door = await startDoor({ env: { ...limits, HELD_BODIES_LIMIT: String(heldLimit) } })
  const made = await door.api('/v1/keys', { json: { tenant: 'fabrikam', scopes: ['submit'] } })
  fabrikam = ((await made.json()) as { key: string }).key
}, 60_000)
afterAll(() => door.stop(), 60_000)

const clients: RawClient[] = []
afterEach(async () => {
  for (const { socket } of clients.splice(0)) socket.destroy()
  await holds(0)
})

class RawClient {
  readonly socket: Socket
  text = ''

  constructor(url: string, path: string, ...headers: string[]) {
    clients.push(this)
    this.socket = connect(Number(new URL(url).port), '127.0.0.1')
    this.socket.on('data', (chunk: Buffer) => (this.text += chunk.toString('latin1'))).on('error', () => undefined)
    const head = [`POST ${path} HTTP/1.1`, 'host: x', `authorization: Bearer ${platformKey}`, ...headers]
    this.socket.write(`${head.join('\r\n')}\r\n\r\n`)
  }

  chunk(text: string): this {
    this.socket.write(`${text.length.toString(16)}\r\n${text}\r\n`)
    return this
  }

  says(text: string): Promise<void> {
    return vi.waitFor(() => expect(this.text).toContain(text), 20_000)
  }
}

/** Declares that many bytes and keeps them back. */
const slow = (bytes: number, path = '/v1/requests', url = door.url) =>
  new RawClient(url, path, 'content-type: application/json', `content-length: ${bytes}`)
const held = async (url = door.url) => {
  const text = await (await fetch(`${url}/metrics`)).text()
  return Number(/^sluice_gateway_held_bytes\S* (\d+)$/m.exec(text)?.[1])
}
const holds = (bytes: number, url?: string) => vi.waitFor(async () => expect(await held(url)).toBe(bytes), 20_000)

const content = 'x'.repeat(1.5 * mebibyte)
const large = (id: string) => JSON.stringify(chatLine(id, {}, { messages: [{ role: 'user', content }] }))
const post = (body: string | FormData, headers: Record<string, string> = {}, path = '/v1/requests', key?: string) =>
  door.api(path, {
    method: 'POST',
    body,
    headers: { ...(typeof body === 'string' ? { 'content-type': 'application/json' } : {}), ...headers },
    ...(key === undefined ? {} : { key }),
  })
const expectRefused = async (answer: Response) => {
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1'])
  expect(await answer.json()).toMatchObject({ error: { code: 'no_capacity', param: null } })
}

describe('bodies of requests that are queued', () => {
  test('share the room with synchronous calls: a crowd is refused while small ones and other tenants pass', async () => {
    const queued = slow(1.5 * mebibyte)
    const called = slow(1.5 * mebibyte, '/v1/chat/completions')
    await holds(3 * mebibyte)
    const crowd = Array.from({ length: 12 }, (_, n) => post(large(`crowd-${n}`), { 'idempotency-key': `crowd-${n}` }))
    const others = Array.from({ length: 4 }, (_, n) => post(JSON.stringify(chatLine(`small-${n}`))))
    const abroad = post(large('abroad'), {}, '/v1/requests', fabrikam)
    for (const answer of await Promise.all(crowd)) await expectRefused(answer)
    expect((await Promise.all(others)).map(({ status }) => status)).toEqual([202, 202, 202, 202])
    expect((await abroad).status).toBe(202)

    const prefer = { prefer: 'respond-async' }
    await expectRefused(await post(JSON.stringify({ messages: [{ role: 'user', content }] }), prefer, '/v1/responses'))
    const form = new FormData()
    form.append('file', new Blob([content]), 'speech.wav')
    await expectRefused(await post(form, prefer, '/v1/audio/transcriptions'))
    await expectRefused(await post(form, {}, '/v1/files'))
    expect((await post(form, prefer, '/v1/audio/transcriptions', fabrikam)).status).toBe(202)

    queued.socket.destroy()
    called.socket.destroy()
    await holds(0)
    // Each is sent again until it is taken: nothing was lost, nothing is left.
    const taken = Array.from({ length: 12 }, async (_, n) => {
      for (;;) {
        const answer = await post(large(`crowd-${n}`), { 'idempotency-key': `crowd-${n}` })
        if (answer.status !== 503) return answer.status
      }
    })
    expect(new Set(await Promise.all(taken))).toEqual(new Set([202]))
    await holds(0)
  })

  test('are free again after 408', async () => {
    const { url, process } = await door.another({ BODY_TIMEOUT_MS: '2500' })
    const late = slow(1.5 * mebibyte, '/v1/requests', url)
    await holds(1.5 * mebibyte, url)
    await late.says('HTTP/1.1 408 ')
    await holds(0, url)
    await process.stop()
  })
})

describe('many lines', () => {
  const ndjson = { 'content-type': 'application/x-ndjson' }

  test('that are more than the room wait for those before them', async () => {
    const lines = Array.from({ length: 6 }, (_, n) => large(`line-${n}`))
    const answer = await post(lines.join('\n'), ndjson)
    expect(answer.status).toBe(207)
    const fates = (await answer.text()).trim().split('\n')
    expect(fates.map((fate) => (JSON.parse(fate) as { status: number }).status)).toEqual(Array(6).fill(202))
  })

  test('without room are a 503: the whole upload before it begins, or the line at which reading stops', async () => {
    const upload = new RawClient(
      door.url,
      '/v1/requests',
      'content-type: application/x-ndjson',
      'transfer-encoding: chunked',
    )
    upload.chunk(`${JSON.stringify(chatLine('first'))}\n`)
    await upload.says('"status":202')
    await holds(0)
    slow(2 * mebibyte)
    slow(2 * mebibyte, '/v1/chat/completions')
    await holds(4 * mebibyte)
    await expectRefused(await post(large('whole'), ndjson))
    upload.chunk(`${large('second')}\n${JSON.stringify(chatLine('third'))}\n`).socket.write('0\r\n\r\n')
    await upload.says('"code":"no_capacity"')
    await upload.says('0\r\n\r\n')
    expect(upload.text).toMatch(/"index":1,"status":503,.*"retry_after_ms":1000/)
    expect(upload.text.match(/"index":/g)).toHaveLength(2)
  })

  test('whose client leaves are free', async () => {
    const upload = new RawClient(
      door.url,
      '/v1/requests',
      'content-type: application/x-ndjson',
      'transfer-encoding: chunked',
    )
    upload.chunk(large('left'))
    await vi.waitFor(async () => expect(await held()).toBeGreaterThan(mebibyte), 20_000)
    upload.socket.destroy()
    await holds(0)
  })
})
