import { type IncomingMessage, request as httpRequest, type ServerResponse } from 'node:http'
import OpenAI from 'openai'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { deploymentOn } from './model-twin.ts'
import {
  chatBody,
  type Door,
  type DoorFixture,
  doorKey,
  type DoorOptions,
  RawClient,
  startDoorFixture,
  until,
} from './openai-door-fixture.ts'
import { chunkOf, events, hello, openOddDoor, role } from './openai-odd-door.ts'

let fixture: DoorFixture
beforeAll(async () => {
  fixture = await startDoorFixture()
})
afterAll(() => fixture.close())
beforeEach(() => fixture.twin.reset())

const closing: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of closing.splice(0)) await one.close()
})

async function openDoor(options: DoorOptions = {}): Promise<Door> {
  const door = await fixture.open(options)
  closing.push(door)
  return door
}

const oddDoor = (listener: Parameters<typeof openOddDoor>[2], options?: Parameters<typeof openOddDoor>[3]) =>
  openOddDoor(fixture, closing, listener, options)

const clientOf = (door: Door) => new OpenAI({ apiKey: doorKey, baseURL: `${door.url}/v1`, maxRetries: 0 })
const user = (content: string) => [{ role: 'user' as const, content }]

describe('a caller of HTTP/1.0, which knows no chunks', () => {
  const ask = async (door: Door, body: string) => {
    const head = `host: door\r\nauthorization: Bearer ${doorKey}\r\ncontent-type: application/json`
    const length = `content-length: ${Buffer.byteLength(body)}`
    const client = new RawClient(door.port)
    client.send(`POST /v1/chat/completions HTTP/1.0\r\n${head}\r\n${length}\r\n\r\n${body}`)
    await client.closed
    const [headers = '', ...rest] = client.text.split('\r\n\r\n')
    expect(headers).toMatch(/^HTTP\/1\.1 200 /)
    expect(headers).not.toMatch(/transfer-encoding/i)
    return rest.join('\r\n\r\n')
  }

  it('reads a whole answer, and a stream up to the end of its connection', async () => {
    const door = await openDoor()
    expect(JSON.parse(await ask(door, chatBody()))).toMatchObject({ object: 'chat.completion' })
    const stream = await ask(door, chatBody('hi', { stream: true }))
    expect(stream).toMatch(/^data: \{/)
    expect(stream.endsWith('data: [DONE]\n\n')).toBe(true)
  })
})

describe('a caller who leaves', () => {
  const inFlight = async () => (await fixture.twin.deployments()).reduce((sum, one) => sum + one.in_flight, 0)

  it('while it sends: nothing is called', async () => {
    const door = await openDoor()
    const client = new RawClient(door.port).post('/v1/chat/completions', '{"model":"gpt', { 'content-length': 500 })
    await until(() => door.drain.inFlight === 1, 'it is under way')
    client.socket.destroy()
    await until(() => door.drain.inFlight === 0, 'it is over')
    expect(await fixture.twin.calls()).toHaveLength(0)
  })

  it('while it uploads: the call is given up', async () => {
    const door = await openDoor()
    const part = (name: string, more = '') => `--b\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n`
    const start = `${part('model')}whisper-1\r\n${part('file', '; filename="a.wav"')}${'x'.repeat(2 * 1024 * 1024)}`
    const headers = { 'content-type': 'multipart/form-data; boundary=b', 'content-length': 6 * 1024 * 1024 }
    const client = new RawClient(door.port).post('/v1/audio/transcriptions', start, headers)
    await until(() => door.forwarder.inFlight === 1, 'it is passed on')
    client.socket.destroy()
    await until(() => door.drain.inFlight === 0, 'it is over')
    await until(() => door.forwarder.inFlight === 0, 'the call is given up')
    expect(door.log.some((line) => line.includes('"outcome":"answered"'))).toBe(false)
  })

  it('while the model thinks: the call is given up', async () => {
    await fixture.twin.post('faults', { type: 'hang', ms: 60_000 })
    const door = await openDoor()
    const client = new RawClient(door.port).post('/v1/chat/completions', chatBody())
    await until(() => door.forwarder.inFlight === 1, 'it is called')
    client.socket.destroy()
    await until(() => door.forwarder.inFlight === 0, 'it is given up')
    await until(async () => (await inFlight()) === 0, 'the upstream has noticed')
  })

  it('while it reads: the call is given up', async () => {
    let upstreamGone = false
    const door = await oddDoor((_, response) => {
      events(response).write(role + hello)
      response.once('close', () => (upstreamGone = true))
    })
    const client = new RawClient(door.port).post('/v1/chat/completions', chatBody('hi', { stream: true }))
    await until(() => client.text.includes('hello'), 'it reads')
    client.socket.destroy()
    await until(() => upstreamGone, 'the upstream has noticed')
    await until(() => door.log.some((line) => line.includes('"outcome":"aborted"')), 'it is logged')
  })

  it('while it waits for room: its place is free', async () => {
    const quota = { tokens_per_minute: 100, requests_per_minute: 600 }
    const door = await openDoor({
      waitMs: 120_000,
      deployments: (twin) => [deploymentOn(twin, 'waited-for', { azure_name: 'gpt', quota })],
    })
    const body = chatBody('hi', { max_tokens: 60 })
    const first = new RawClient(door.port).post('/v1/chat/completions', body)
    await until(() => first.text.includes('chat.completion'), 'the first is answered')
    const second = new RawClient(door.port).post('/v1/chat/completions', body)
    await until(() => door.drain.inFlight === 1, 'the second waits')
    second.socket.destroy()
    await until(() => door.drain.inFlight === 0, 'the second is over')
    first.socket.destroy()
  })
})

describe('a caller who reads slowly', () => {
  // Far more than the sockets' buffers take in.
  const endless = (written: { bytes: number }) => (_: IncomingMessage, response: ServerResponse) => {
    events(response).write(role)
    const chunk = chunkOf({ content: 'x'.repeat(64 * 1024) })
    const more = () => {
      while (written.bytes < 256 * 1024 * 1024 && !response.destroyed) {
        written.bytes += chunk.length
        if (!response.write(chunk)) return void response.once('drain', more)
      }
    }
    more()
  }

  it('holds the upstream back, and is left when it stands still', async () => {
    const written = { bytes: 0 }
    const door = await oddDoor(endless(written), { stallMs: 1_000 })
    const request = httpRequest(`${door.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${doorKey}` },
    })
    request.on('error', () => undefined)
    const response = new Promise<IncomingMessage>((resolve) => request.once('response', resolve))
    request.end(chatBody('hi', { stream: true }))
    const answer = await response
    answer.on('error', () => undefined)
    answer.pause()
    await until(() => door.log.some((line) => line.includes('"outcome":"aborted"')), 'it is left')
    expect(written.bytes).toBeLessThan(64 * 1024 * 1024)
    request.destroy()
  })

  it('reads on where it stopped', async () => {
    const door = await oddDoor((_, response) => {
      events(response).write(role)
      for (let n = 0; n < 200; n++) response.write(chunkOf({ content: 'x'.repeat(32 * 1024) }))
      response.end('data: [DONE]\n\n')
    })
    const stream = await clientOf(door).chat.completions.create({
      model: 'gpt-4.1',
      messages: user('hi'),
      stream: true,
    })
    let length = 0
    for await (const chunk of stream) {
      length += chunk.choices[0]?.delta.content?.length ?? 0
      if (length % (20 * 32 * 1024) === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    }
    expect(length).toBe(200 * 32 * 1024)
  })
})

describe('stopping', () => {
  it('who waits for room is told at once', async () => {
    const quota = { tokens_per_minute: 100, requests_per_minute: 600 }
    const door = await openDoor({
      waitMs: 120_000,
      deployments: (twin) => [deploymentOn(twin, 'left', { azure_name: 'gpt', quota })],
    })
    const body = chatBody('hi', { max_tokens: 60 })
    const first = new RawClient(door.port).post('/v1/chat/completions', body)
    await until(() => first.text.includes('chat.completion'), 'the first is answered')
    const second = new RawClient(door.port).post('/v1/chat/completions', body)
    await until(() => door.drain.inFlight === 1, 'the second waits')
    await door.drain.run(50)
    await until(() => second.text.includes('shutting_down'), 'the second is told')
    expect(second.text).toMatch(/^HTTP\/1\.1 503 /)
    first.socket.destroy()
    second.socket.destroy()
  })

  it('500 open streams finish, or end with an honest error when the grace is over; new calls are refused', async () => {
    const finish: (() => void)[] = []
    const door = await oddDoor((_, response) => {
      events(response).write(role + hello)
      finish.push(() => response.end('data: [DONE]\n\n'))
    })
    const clients = Array.from({ length: 500 }, () =>
      new RawClient(door.port).post('/v1/chat/completions', chatBody('hi', { stream: true }), { connection: 'close' }),
    )
    await until(() => clients.every(({ text }) => text.includes('hello')), 'all streams are open', 60_000)
    const over = door.drain.run(3_000)
    const late = new RawClient(door.port).post('/v1/chat/completions', chatBody())
    await until(() => late.text.includes('shutting_down'), 'a new call is refused')
    expect(late.text).toMatch(/^HTTP\/1\.1 503 /)
    expect(late.text).toMatch(/retry-after: 1\r\n/i)
    for (const end of finish.slice(0, 250)) end()
    await over
    await Promise.all(clients.map(({ closed }) => closed))
    const done = clients.filter(({ text }) => text.includes('[DONE]'))
    const failed = clients.filter(({ text }) => text.includes('"code":"shutting_down"'))
    // How many of those that could finish did so in time is the machine's affair.
    expect(done.length).toBeGreaterThan(0)
    expect(failed.length).toBeGreaterThanOrEqual(250)
    expect(done.length + failed.length).toBe(500)
    // Each answer is complete as HTTP: its last chunk came.
    expect(clients.every(({ text }) => text.endsWith('0\r\n\r\n'))).toBe(true)
  }, 90_000)
})
