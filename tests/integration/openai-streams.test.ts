import type { ServerResponse } from 'node:http'
import OpenAI, { APIError } from 'openai'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  chatBody,
  type Door,
  type DoorFixture,
  doorKey,
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

const oddDoor = (listener: Parameters<typeof openOddDoor>[2], options?: Parameters<typeof openOddDoor>[3]) =>
  openOddDoor(fixture, closing, listener, options)

const clientOf = (door: Door) => new OpenAI({ apiKey: doorKey, baseURL: `${door.url}/v1`, maxRetries: 0 })
const user = (content: string) => [{ role: 'user' as const, content }]

async function readAll(door: Door): Promise<{ text: string; error: unknown }> {
  let text = ''
  try {
    const ask = { model: 'gpt-4.1', messages: user('[tokens=20] hi'), stream: true as const }
    for await (const chunk of await clientOf(door).chat.completions.create(ask)) {
      text += chunk.choices[0]?.delta.content ?? ''
    }
  } catch (error) {
    return { text, error }
  }
  return { text, error: undefined }
}

describe('before the first output', () => {
  it.each([
    ['an error status', (r: ServerResponse) => void r.writeHead(500).end('{}')],
    ['a redirect', (r: ServerResponse) => void r.writeHead(302, { location: 'http://elsewhere.test/' }).end()],
    ['a reset', (r: ServerResponse) => void r.destroy()],
    ['a stream that ends after its preamble', (r: ServerResponse) => void events(r).end(role)],
    ['a stream that is cut after its preamble', (r: ServerResponse) => void events(r).write(role, () => r.destroy())],
    [
      'an error event in the preamble',
      (r: ServerResponse) => void events(r).end(`${role}data: {"error":{"message":"boom","code":"server_error"}}\n\n`),
    ],
    ['a preamble and then silence', (r: ServerResponse) => void events(r).write(role)],
    ['silence', () => undefined],
    ['an empty stream', (r: ServerResponse) => void events(r).end()],
  ])('%s: another deployment answers', async (_name, misbehave) => {
    const door = await oddDoor((_, response) => misbehave(response), { second: true, timeout_ms: 400 })
    const { text, error } = await readAll(door)
    expect(error).toBeUndefined()
    expect(text).not.toBe('')
    expect(door.log.some((line) => line.includes('"deployment":"sound-') && line.includes('"attempts":2'))).toBe(true)
  })

  it('nobody else: an honest status, not a stream', async () => {
    const door = await oddDoor((_, response) => void events(response).end(role))
    const { error } = await readAll(door)
    expect(error).toMatchObject({ status: 502, code: 'model_unavailable' })
  })

  it('nobody in time: 504', async () => {
    const door = await oddDoor(() => undefined, { timeout_ms: 300 })
    expect((await readAll(door)).error).toMatchObject({ status: 504, code: 'model_timeout' })
  })

  it('a whole answer that breaks off is not passed on', async () => {
    const door = await oddDoor(
      (_, response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': 1000 })
        response.write('{"choices":[', () => response.destroy())
      },
      { second: true },
    )
    const answer = await clientOf(door).chat.completions.create({ model: 'gpt-4.1', messages: user('hi') })
    expect(answer.choices).toHaveLength(1)
  })

  it('a deadline is kept', async () => {
    const door = await oddDoor(() => undefined)
    const headers = { 'x-sluice-deadline': new Date(Date.now() + 400).toISOString() }
    const ask = clientOf(door).chat.completions.create({ model: 'gpt-4.1', messages: user('hi') }, { headers })
    await expect(ask).rejects.toMatchObject({ status: 504 })
  })
})

describe('after the first output', () => {
  it.each([
    ['a cut', (r: ServerResponse) => void events(r).write(role + hello, () => r.destroy())],
    ['an end without its mark', (r: ServerResponse) => void events(r).end(role + hello)],
    ['silence', (r: ServerResponse) => void events(r).write(role + hello)],
  ])('%s: what came, then an error event and no mark of an end', async (_name, misbehave) => {
    const door = await oddDoor((_, response) => misbehave(response), { second: true, timeout_ms: 2_000 })
    const { text, error } = await readAll(door)
    expect(text).toBe('hello')
    expect(error).toBeInstanceOf(APIError)
    const raw = await fetch(`${door.url}/v1/chat/completions`, {
      method: 'POST',
      body: chatBody('hi', { stream: true }),
      headers: { 'content-type': 'application/json', authorization: `Bearer ${doorKey}` },
    })
    expect(raw.status).toBe(200)
    const body = await raw.text()
    expect(body).not.toContain('[DONE]')
    const last = body.trimEnd().split('\n\n').at(-1) ?? ''
    expect(JSON.parse(last.replace(/^data: /, ''))).toEqual({
      error: {
        message: expect.any(String) as string,
        type: expect.any(String) as string,
        param: null,
        code: expect.stringMatching(/^model_/) as string,
      },
    })
  })

  it('a provider’s own error event is passed on as it is', async () => {
    const said = 'data: {"error":{"message":"out of luck","code":"server_error"}}\n\n'
    let fail: () => void = () => undefined
    const door = await oddDoor((_, response) => {
      events(response).write(role + hello)
      fail = () => response.end(said)
    })
    const client = new RawClient(door.port).post('/v1/chat/completions', chatBody('hi', { stream: true }))
    await until(() => client.text.includes('hello'), 'it reads')
    fail()
    await until(() => client.text.endsWith('0\r\n\r\n'), 'it ends')
    expect(client.text.split('out of luck')).toHaveLength(2)
    expect(client.text).not.toContain('[DONE]')
    await until(() => door.log.some((line) => line.includes('"outcome":"broken"')), 'it is logged')
    client.socket.destroy()
  })

  it('of the Responses API it is the documented error event', async () => {
    const say = (event: object & { type: string }) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
    const door = await oddDoor((_, response) => {
      events(response).end(
        say({ type: 'response.created', sequence_number: 0 } as { type: string }) +
          say({ type: 'response.output_text.delta', delta: 'hello' } as { type: string }),
      )
    })
    const seen: string[] = []
    const read = async () => {
      const stream = await clientOf(door).responses.create({ model: 'gpt-4.1', input: 'hi', stream: true })
      for await (const event of stream) seen.push(event.type)
    }
    await expect(read()).rejects.toBeInstanceOf(APIError)
    expect(seen).toEqual(['response.created', 'response.output_text.delta'])
  })

  it('the mark of the end is passed on while the upstream keeps its answer open', async () => {
    let close: () => void = () => undefined
    const door = await oddDoor((_, response) => {
      events(response).write(role + hello)
      close = () => response.end()
      setImmediate(() => response.write('data: [DONE]\n\n'))
    })
    const client = new RawClient(door.port).post('/v1/chat/completions', chatBody('hi', { stream: true }))
    await until(() => client.text.includes('[DONE]'), 'it reads the mark')
    expect(client.text.endsWith('0\r\n\r\n')).toBe(false)
    close()
    await until(() => client.text.endsWith('0\r\n\r\n'), 'it ends')
    await until(() => door.log.some((line) => line.includes('"outcome":"answered"')), 'it is logged')
    expect(client.text.split('[DONE]')).toHaveLength(2)
    client.socket.destroy()
  })

  it('what follows the mark of the end in the same piece comes after it', async () => {
    const usage = chunkOf({}, { choices: [], usage: { prompt_tokens: 1, completion_tokens: 2 } })
    const door = await oddDoor((_, response) => {
      events(response).write(role + hello)
      setImmediate(() => {
        response.cork()
        response.write('data: [DONE]\n\n')
        response.write(usage)
        response.write(': bye\n\n')
        response.uncork()
        response.end()
      })
    })
    const client = new RawClient(door.port).post('/v1/chat/completions', chatBody('hi', { stream: true }))
    await until(() => client.text.endsWith('0\r\n\r\n'), 'it ends')
    expect(client.text.indexOf('[DONE]')).toBeGreaterThan(client.text.indexOf('hello'))
    expect(client.text.indexOf(': bye')).toBeGreaterThan(client.text.indexOf('[DONE]'))
    client.socket.destroy()
  })

  it('events arrive whole, however the upstream’s bytes were cut', async () => {
    const text = `${role}${chunkOf({ content: 'häß' })}${chunkOf({}, { usage: null })}${chunkOf({ content: 'lich' })}data: [DONE]\n\n`
    const door = await oddDoor((_, response) => {
      events(response)
      const bytes = Buffer.from(text)
      let at = 0
      const drip = () => {
        if (at >= bytes.length) return void response.end()
        response.write(bytes.subarray(at, (at += 7)), () => setImmediate(drip))
      }
      drip()
    })
    expect(await readAll(door)).toEqual({ text: 'häßlich', error: undefined })
  })
})
