import { connect } from 'node:net'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { apiKey, eventually, resource, startTwin } from './openai-twin.ts'
import type { TwinUnderTest } from './openai-twin.ts'

const seed = 20_261

describe('hostile input', () => {
  let under: TwinUnderTest

  beforeAll(async () => {
    under = await startTwin([
      { name: 'chat', model: 'gpt-4.1' },
      { name: 'embed', model: 'text-embedding-3-small' },
      { name: 'tts', model: 'tts' },
      { name: 'rt', model: 'gpt-realtime' },
    ])
  })
  afterAll(() => under.close())

  const alive = async (): Promise<void> => {
    const completion = await under.openai.chat.completions.create({
      model: 'chat',
      messages: [{ role: 'user', content: 'Hi' }],
    })
    expect(completion.choices).toHaveLength(1)
  }
  const post = async (path: string, body: string): Promise<number> => {
    const response = await fetch(`${under.twin.url}/r/${resource}/openai/v1/${path}`, {
      method: 'POST',
      body,
      headers: { 'api-key': apiKey, 'content-type': 'application/json' },
      signal: AbortSignal.timeout(10_000),
    })
    await response.arrayBuffer()
    return response.status
  }
  // Fields that the handlers read, with values of every type in them.
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.constantFrom(-1, 0, 1e308, '', 'chat', [], {}, [null], [{}], [[]]),
  )
  const field = (names: string[]) => fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 6 })

  test.each([
    [
      'chat/completions',
      'chat',
      [
        'messages',
        'tools',
        'tool_choice',
        'response_format',
        'max_tokens',
        'n',
        'stop',
        'stream',
        'stream_options',
        'logprobs',
        'top_logprobs',
      ],
    ],
    [
      'responses',
      'chat',
      [
        'input',
        'tools',
        'tool_choice',
        'text',
        'include',
        'max_output_tokens',
        'previous_response_id',
        'reasoning',
        'stream',
        'instructions',
      ],
    ],
    ['embeddings', 'embed', ['input', 'dimensions', 'encoding_format', 'user']],
    ['completions', 'chat', ['prompt', 'n', 'best_of', 'max_tokens', 'stop', 'stream']],
    ['audio/speech', 'tts', ['input', 'voice', 'response_format', 'speed', 'stream_format']],
    ['batches', 'chat', ['input_file_id', 'endpoint', 'completion_window', 'metadata']],
    ['realtime/client_secrets', 'rt', ['session', 'expires_after']],
  ])('POST %s with any JSON is answered, and never with a 5xx', async (path, model, names) => {
    await fc.assert(
      fc.asyncProperty(field(names), async (fields) => {
        const status = await post(path, JSON.stringify({ model, ...fields }))
        expect(status).toBeGreaterThanOrEqual(200)
        expect(status).toBeLessThan(500)
      }),
      { seed, numRuns: 150 },
    )
    await alive()
  })

  test('any schema gets an answer that is JSON', async () => {
    const keywords = [
      'type',
      'properties',
      'items',
      'required',
      'enum',
      'anyOf',
      'allOf',
      '$ref',
      'minimum',
      'maximum',
      'minItems',
      'maxLength',
      'pattern',
      'format',
      'multipleOf',
    ]
    await fc.assert(
      fc.asyncProperty(field(keywords), async (schema) => {
        const completion = await under.openai.chat.completions.create({
          model: 'chat',
          messages: [{ role: 'user', content: 'x' }],
          response_format: { type: 'json_schema', json_schema: { name: 's', schema } },
        })
        const { content } = completion.choices[0]?.message ?? {}
        if (completion.choices[0]?.finish_reason === 'stop') expect(() => void JSON.parse(content ?? '')).not.toThrow()
      }),
      { seed, numRuns: 200 },
    )
  })

  test('a schema that refers to itself ends', async () => {
    const node = {
      type: 'object',
      properties: { next: { $ref: '#' }, list: { type: 'array', minItems: 2, items: { $ref: '#' } } },
      required: ['next', 'list'],
    }
    const completion = await under.openai.chat.completions.create({
      model: 'chat',
      messages: [{ role: 'user', content: 'x' }],
      response_format: { type: 'json_schema', json_schema: { name: 's', schema: node } },
    })
    expect(completion.choices).toHaveLength(1)
  })

  test('random bytes on the port, and half requests, close that connection and no other', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
        const socket = connect(under.twin.port, '127.0.0.1')
        socket.on('error', () => undefined)
        await new Promise<void>((resolve) => socket.end(Buffer.from(bytes), resolve))
        socket.destroy()
      }),
      { seed, numRuns: 200 },
    )
    await alive()
  })

  test('any URL is answered', async () => {
    await fc.assert(
      fc.asyncProperty(fc.webPath(), async (path) => {
        const response = await fetch(`${under.twin.url}${path.startsWith('/') ? path : `/${path}`}`, {
          signal: AbortSignal.timeout(10_000),
        })
        await response.arrayBuffer()
        expect(response.status).toBeLessThan(500)
      }),
      { seed, numRuns: 200 },
    )
  })

  test('any realtime event is answered or ignored, and the session goes on', async () => {
    const socket = new WebSocket(`${under.twin.url.replace('http', 'ws')}/r/${resource}/openai/v1/realtime?model=rt`, {
      headers: { 'api-key': apiKey },
    })
    const received: string[] = []
    socket.addEventListener('message', ({ data }) => received.push(String(data)))
    await new Promise((resolve) => socket.addEventListener('open', resolve, { once: true }))
    const types = [
      'session.update',
      'conversation.item.create',
      'conversation.item.truncate',
      'input_audio_buffer.append',
      'input_audio_buffer.commit',
      'response.create',
      'response.cancel',
    ]
    fc.assert(
      fc.property(
        fc.constantFrom(...types),
        field(['session', 'item', 'item_id', 'audio', 'response', 'type']),
        (type, fields) => {
          socket.send(JSON.stringify({ ...fields, type }))
        },
      ),
      { seed, numRuns: 300 },
    )
    socket.send('{"type":"session.update","session":{"type":"realtime","instructions":"still here"}}')
    await eventually(
      () => received,
      (events) => events.some((event) => event.includes('still here')),
    )
    socket.close()
    await alive()
  })

  test('a thousand idle connections do not keep others out', async () => {
    const idle = Array.from({ length: 1_000 }, () => connect(under.twin.port, '127.0.0.1').on('error', () => undefined))
    await alive()
    for (const socket of idle) socket.destroy()
  })
})
