import { connect } from 'node:net'
import { OpenAIRealtimeWS } from 'openai/realtime/ws'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { append, loud, RealtimeClient, statusOfHandshake, textOnly, userSays } from './openai-realtime-client.ts'
import { apiKey, deploymentState, eventually, resource, startTwin } from './openai-twin.ts'
import type { TwinUnderTest } from './openai-twin.ts'

describe('realtime', () => {
  let under: TwinUnderTest
  let clients: RealtimeClient[]

  beforeEach(async () => {
    clients = []
    under = await startTwin([
      { name: 'rt', model: 'gpt-realtime', ability: 1, tokens_per_minute: 10_000 },
      { name: 'slow', model: 'gpt-realtime', ability: 1, latency: { per_token_ms: 20 } },
      { name: 'chat', model: 'gpt-4.1' },
    ])
  })
  afterEach(async () => {
    for (const client of clients) client.socket.close()
    await under.close()
  })

  const base = () => `${under.twin.url.replace('http', 'ws')}/r/${resource}/openai`
  const open = (
    path = '/v1/realtime?model=rt',
    headers: Record<string, string> = { 'api-key': apiKey },
    protocols: string[] = [],
  ): RealtimeClient => {
    const client = new RealtimeClient(`${base()}${path}`, headers, protocols)
    clients.push(client)
    return client
  }
  const handshakeStatus = (path: string, headers: Record<string, string>) =>
    statusOfHandshake(`${base().replace('ws', 'http')}${path}`, headers)

  test('the SDK’s realtime client holds a text conversation', async () => {
    // The SDK always dials wss; its own socket option leads it to the twin's plain port.
    const options = { createConnection: () => connect(under.twin.port, '127.0.0.1') } as object
    const realtime = new OpenAIRealtimeWS({ model: 'rt', options }, under.openai)
    const done = new Promise<string>((resolve, reject) => {
      let text = ''
      realtime.on('error', reject)
      realtime.on('session.created', () =>
        realtime.send({ type: 'session.update', session: { type: 'realtime', output_modalities: ['text'] } }),
      )
      realtime.on('session.updated', () => {
        realtime.send({
          type: 'conversation.item.create',
          item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Where? [answer=Lund]' }] },
        })
        realtime.send({ type: 'response.create' })
      })
      realtime.on('response.output_text.delta', (event) => (text += event.delta))
      realtime.on('response.done', (event) =>
        event.response.status === 'completed' ? resolve(text) : reject(new Error(event.response.status)),
      )
    })
    expect(await done).toContain('Lund')
    realtime.close()
  })

  test('speech comes as audio deltas with a transcript, and usage counts both', async () => {
    const client = open()
    await client.next('session.created')
    client.send(userSays('Explain tides'))
    client.send({ type: 'response.create' })
    const done = await client.next('response.done')
    const transcript = client.text('response.output_audio_transcript.delta')
    expect(transcript).not.toBe('')
    expect((await client.next('response.output_audio_transcript.done'))['transcript']).toBe(transcript)
    const audio = client.events
      .filter((event) => event.type === 'response.output_audio.delta')
      .map((event) => Buffer.from(String(event['delta']), 'base64'))
    expect(Buffer.concat(audio).byteLength).toBe(audio.length * 4_800)
    expect(done['response']).toMatchObject({
      status: 'completed',
      usage: {
        output_token_details: { text_tokens: audio.length, audio_tokens: audio.length * 2 },
        output_tokens: audio.length * 3,
      },
      output: [{ type: 'message', role: 'assistant', status: 'completed' }],
    })
    await client.next('rate_limits.updated')
  })

  test('the order of a response’s events is the protocol’s', async () => {
    const client = open()
    client.socket.addEventListener('open', () => {
      client.send(textOnly)
      client.send(userSays('Hi'))
      client.send({ type: 'response.create' })
    })
    await client.next('rate_limits.updated')
    const types = client.events.map((event) => event.type).filter((type, i, all) => type !== all[i - 1])
    expect(types).toEqual([
      'session.created',
      'session.updated',
      'conversation.item.added',
      'conversation.item.done',
      'response.created',
      'response.output_item.added',
      'conversation.item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'conversation.item.done',
      'response.done',
      'rate_limits.updated',
    ])
  })

  test('the preview path keeps its own event names and shapes', async () => {
    const client = open('/realtime?api-version=2025-04-01-preview&deployment=rt')
    const created = await client.next('session.created')
    expect(created['session']).toMatchObject({ modalities: ['text', 'audio'], input_audio_format: 'pcm16' })
    client.send({ type: 'session.update', session: { modalities: ['text'], turn_detection: null } })
    expect((await client.next('session.updated'))['session']).toMatchObject({
      modalities: ['text'],
      turn_detection: null,
    })
    client.send(userSays('Hi'))
    client.send({ type: 'response.create' })
    const done = await client.next('response.done')
    expect(done['response']).toMatchObject({ modalities: ['text'], output: [{ content: [{ type: 'text' }] }] })
    expect(client.text('response.text.delta')).not.toBe('')
    expect(client.events.some((event) => event.type === 'conversation.item.created')).toBe(true)
    expect(client.events.some((event) => event.type === 'conversation.item.added')).toBe(false)
  })

  test('functions are called and their output answered', async () => {
    const client = open()
    const tools = [
      {
        type: 'function',
        name: 'get_weather',
        description: 'Weather',
        parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
      },
    ]
    await client.next('session.created')
    client.send({ type: 'session.update', session: { type: 'realtime', output_modalities: ['text'], tools } })
    client.send(userSays('Weather in Oslo?'))
    client.send({ type: 'response.create' })
    const call = await client.next('response.function_call_arguments.done')
    expect(typeof (JSON.parse(String(call['arguments'])) as { city: unknown }).city).toBe('string')
    const first = await client.next('rate_limits.updated')
    client.send({
      type: 'conversation.item.create',
      item: { type: 'function_call_output', call_id: call['call_id'], output: '12 degrees' },
    })
    client.send({ type: 'response.create' })
    await client.next('response.done', client.events.indexOf(first) + 1)
    expect(client.text('response.output_text.delta')).not.toBe('')
  })

  test('voice activity commits what was said and answers it by itself', async () => {
    const client = open()
    await client.next('session.created')
    client.send({
      type: 'session.update',
      session: {
        type: 'realtime',
        output_modalities: ['text'],
        audio: { input: { transcription: { model: 'whisper-1' } } },
      },
    })
    client.send(append(loud(900)))
    await client.next('input_audio_buffer.speech_started')
    client.send(append(Buffer.alloc(600 * 48)))
    await client.next('input_audio_buffer.speech_stopped')
    await client.next('input_audio_buffer.committed')
    expect((await client.next('conversation.item.input_audio_transcription.completed'))['transcript']).not.toBe('')
    const done = await client.next('response.done')
    expect(done['response']).toMatchObject({
      status: 'completed',
      usage: { input_token_details: { audio_tokens: 15 } },
    })
  })

  test('without turn detection the client commits; too little audio is an error event', async () => {
    const client = open()
    await client.next('session.created')
    client.send({ type: 'session.update', session: { type: 'realtime', audio: { input: { turn_detection: null } } } })
    client.send({ type: 'input_audio_buffer.commit' })
    expect((await client.next('error'))['error']).toMatchObject({ code: 'input_audio_buffer_commit_empty' })
    client.send(append(loud(200)))
    client.send({ type: 'input_audio_buffer.commit' })
    await client.next('input_audio_buffer.committed')
    expect(client.events.some((event) => event.type === 'response.created')).toBe(false)
    client.send(append(loud(200)))
    client.send({ type: 'input_audio_buffer.clear' })
    await client.next('input_audio_buffer.cleared')
  })

  test('a response can be cancelled, and only one runs at a time', async () => {
    const client = open('/v1/realtime?model=slow')
    await client.next('session.created')
    client.send(textOnly)
    client.send(userSays('Long [tokens=200]'))
    client.send({ type: 'response.create' })
    await client.next('response.output_text.delta')
    client.send({ type: 'response.create' })
    expect((await client.next('error'))['error']).toMatchObject({ code: 'conversation_already_has_active_response' })
    client.send({ type: 'response.cancel' })
    const done = await client.next('response.done')
    expect(done['response']).toMatchObject({ status: 'cancelled', status_details: { reason: 'client_cancelled' } })
    const from = client.events.length
    client.send({ type: 'response.cancel' })
    expect((await client.next('error', from))['error']).toMatchObject({ code: 'response_cancel_not_active' })
  })

  test('what is wrong with an event comes back with the event’s id, and the session goes on', async () => {
    const client = open()
    await client.next('session.created')
    const attempts: [object | string, object][] = [
      ['not json', { code: 'invalid_json', event_id: null }],
      ['[]', { code: 'invalid_json' }],
      [
        { type: 'dance', event_id: 'e1' },
        { code: 'invalid_value', param: 'type', event_id: 'e1' },
      ],
      [{ type: 'session.update', session: {} }, { param: 'session.type' }],
      [
        { type: 'session.update', session: { type: 'realtime', output_modalities: ['smell'] } },
        { param: 'session.output_modalities' },
      ],
      [{ type: 'conversation.item.create' }, { param: 'item' }],
      [{ type: 'conversation.item.create', item: { type: 'message' } }, { param: 'item.role' }],
      [{ type: 'conversation.item.delete', item_id: 'none' }, { code: 'item_not_found' }],
      [{ type: 'input_audio_buffer.append', audio: '***' }, { param: 'audio' }],
    ]
    for (const [event, error] of attempts) {
      const from = client.events.length
      client.send(event)
      expect((await client.next('error', from))['error']).toMatchObject({ type: 'invalid_request_error', ...error })
    }
    client.send({ ...userSays('Hi'), item: { id: 'mine', type: 'message', role: 'user', content: [] } })
    await client.next('conversation.item.added')
    client.send({ type: 'conversation.item.delete', item_id: 'mine' })
    expect(await client.next('conversation.item.deleted')).toMatchObject({ item_id: 'mine' })
  })

  test('quota and content filter end a response, not the session', async () => {
    await under.control('POST', 'deployments', { resource, deployment: 'rt', settings: { tokens_per_minute: 1 } })
    const client = open()
    await client.next('session.created')
    client.send({ type: 'response.create' })
    expect((await client.next('response.done'))['response']).toMatchObject({
      status: 'failed',
      status_details: { error: { code: 'rate_limit_exceeded' } },
    })
    await under.control('POST', 'deployments', { resource, deployment: 'rt', settings: { tokens_per_minute: 10_000 } })
    const from = client.events.length
    client.send(userSays('[content_filter=hate]'))
    client.send({ type: 'response.create' })
    expect((await client.next('response.done', from))['response']).toMatchObject({
      status: 'incomplete',
      status_details: { reason: 'content_filter' },
    })
    expect(client.closed).toBe(false)
  })

  test('handshakes without a good key, deployment or model are refused with their status', async () => {
    expect(await handshakeStatus('/v1/realtime?model=rt', {})).toBe(401)
    expect(await handshakeStatus('/v1/realtime?model=rt', { 'api-key': 'wrong' })).toBe(401)
    expect(await handshakeStatus('/v1/realtime?model=nowhere', { 'api-key': apiKey })).toBe(404)
    expect(await handshakeStatus('/v1/realtime', { 'api-key': apiKey })).toBe(400)
    expect(await handshakeStatus('/v1/realtime?model=chat', { 'api-key': apiKey })).toBe(400)
    expect(await handshakeStatus('/v1/elsewhere', { 'api-key': apiKey })).toBe(404)
  })

  test('an ephemeral token opens the session that was prepared for it, until it expires', async () => {
    const secret = await under.openai.realtime.clientSecrets.create({
      session: { type: 'realtime', model: 'rt', instructions: 'Be kind', output_modalities: ['text'] },
      expires_after: { anchor: 'created_at', seconds: 60 },
    })
    expect(secret.value).toMatch(/^ek_/)
    const client = open('/v1/realtime', {}, ['realtime', `openai-insecure-api-key.${secret.value}`])
    expect((await client.next('session.created'))['session']).toMatchObject({
      instructions: 'Be kind',
      output_modalities: ['text'],
    })
    expect(await handshakeStatus('/v1/realtime?model=rt', { authorization: 'Bearer ek_unknown' })).toBe(401)
    await under.control('POST', 'clock', { advanceMs: 61_000 })
    expect(await handshakeStatus('/v1/realtime', { authorization: `Bearer ${secret.value}` })).toBe(401)
    await expect(
      under.openai.realtime.clientSecrets.create({ session: { type: 'realtime', model: 'nowhere' } }),
    ).rejects.toMatchObject({ status: 404 })
    await expect(under.openai.realtime.clientSecrets.create({})).rejects.toMatchObject({
      status: 400,
      param: 'session.model',
    })
  })

  test('faults refuse, delay or cut a session; an outage ends those that are open', async () => {
    await under.control('POST', 'faults', { type: 'status', status: 503, operation: 'realtime', count: 1 })
    expect(await handshakeStatus('/v1/realtime?model=rt', { 'api-key': apiKey })).toBe(503)
    await under.control('POST', 'faults', { type: 'drop', operation: 'realtime', at: 'headers', count: 1 })
    expect(await handshakeStatus('/v1/realtime?model=rt', { 'api-key': apiKey })).toBeUndefined()
    await under.control('POST', 'faults', {
      type: 'drop',
      operation: 'realtime',
      at: 'stream',
      after_events: 3,
      count: 1,
    })
    const cut = open()
    cut.socket.addEventListener('open', () => {
      cut.send(userSays('Hi'))
      cut.send({ type: 'response.create' })
    })
    await eventually(() => cut.closed, Boolean)
    expect(cut.events).toHaveLength(3)
    const held = open()
    await held.next('session.created')
    await under.control('POST', 'faults', { type: 'outage', resource })
    await eventually(() => held.closed, Boolean)
    expect(await handshakeStatus('/v1/realtime?model=rt', { 'api-key': apiKey })).toBeUndefined()
  })

  test('a client that leaves in the middle of a response leaves nothing in flight', async () => {
    const client = open('/v1/realtime?model=slow')
    await client.next('session.created')
    client.send(userSays('Long [tokens=500]'))
    client.send({ type: 'response.create' })
    await client.next('response.output_audio.delta')
    client.socket.close()
    const state = await eventually(
      () => deploymentState(under, 'slow'),
      (row) => row.in_flight === 0,
    )
    expect(state.completion_tokens).toBeGreaterThan(0)
    expect(
      (
        await eventually(
          () => under.control('GET', 'state'),
          (row) => row.open_calls === 0,
        )
      ).open_calls,
    ).toBe(0)
  })
})
