import { createRegionAffinity } from '@sluice/execution'
import { systemClock } from '@sluice/resilience'
import OpenAI, { APIError, AzureOpenAI, NotFoundError, toFile } from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Door, type DoorFixture, doorKey, startDoorFixture } from './openai-door-fixture.ts'

let fixture: DoorFixture
let door: Door
let openai: OpenAI
let azure: AzureOpenAI
beforeAll(async () => {
  fixture = await startDoorFixture()
  door = await fixture.open({ aliases: { 'gpt-4o': 'gpt-4.1' } })
  openai = new OpenAI({ apiKey: doorKey, baseURL: `${door.url}/v1`, maxRetries: 0 })
  azure = new AzureOpenAI({ apiKey: doorKey, endpoint: door.url, apiVersion: '2024-10-21', maxRetries: 0 })
})
afterAll(async () => {
  await door.close()
  await fixture.close()
})
beforeEach(() => fixture.twin.reset())

const user = (content: string) => [{ role: 'user' as const, content }]
const failure = async (pending: Promise<unknown>): Promise<APIError> => {
  const error = await pending.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof APIError)) throw new Error(`expected an APIError, got ${String(error)}`)
  return error
}

describe('the openai SDK', () => {
  it('chats, and learns from the headers what was decided', async () => {
    const { data, response } = await openai.chat.completions
      .create({ model: 'auto', messages: user('Say hello. [answer=four]') })
      .withResponse()
    expect(data.object).toBe('chat.completion')
    expect(data.usage?.total_tokens).toBeGreaterThan(0)
    const { headers } = response
    expect(headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    expect(headers.get('x-sluice-tier')).toMatch(/^(small|large)$/)
    expect(headers.get('x-sluice-deployment')).toContain(headers.get('x-sluice-region') ?? '?')
    expect(headers.get('x-sluice-model')).toMatch(/^gpt-4.1/)
    expect(Number(headers.get('x-sluice-score'))).toBeGreaterThanOrEqual(0)
    expect((await fixture.twin.calls())[0]?.client_request_id).toBe(headers.get('x-request-id'))
  })

  it.each([true, false])('streams; usage when asked: %s', async (include_usage) => {
    const stream = await openai.chat.completions.create({
      model: 'gpt-4.1',
      messages: user('[tokens=12] hi'),
      stream: true,
      ...(include_usage ? { stream_options: { include_usage } } : {}),
    })
    const chunks: OpenAI.ChatCompletionChunk[] = []
    for await (const chunk of stream) chunks.push(chunk)
    expect(chunks.some(({ choices }) => choices[0]?.finish_reason === 'stop')).toBe(true)
    expect(chunks.some(({ usage }) => usage !== null && usage !== undefined)).toBe(include_usage)
    if (!include_usage) expect(chunks.some((chunk) => 'usage' in chunk)).toBe(false)
    // Counted either way.
    const { text } = await door.metrics.render()
    expect(text).toMatch(/sluice_model_tokens_total\{deployment="gpt-[a-z0-9]+",kind="output"[^}]*\} [1-9]/)
  })

  it('has its tools called, streamed and whole', async () => {
    const tools: OpenAI.ChatCompletionTool[] = [
      {
        type: 'function',
        function: {
          name: 'look_up_weather',
          description: 'weather of a city',
          parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
        },
      },
    ]
    const ask = { model: 'gpt-4.1', messages: user('What is the weather in the city of Paris?'), tools }
    const whole = await openai.chat.completions.create(ask)
    const call = whole.choices[0]?.message.tool_calls?.[0]
    expect(call?.type === 'function' && (JSON.parse(call.function.arguments) as object)).toHaveProperty('city')
    const streamed = await openai.chat.completions.stream(ask).finalChatCompletion()
    expect(streamed.choices[0]?.message.tool_calls).toHaveLength(1)
  })

  it('gets what its json_schema says', async () => {
    const schema = {
      type: 'object',
      properties: { n: { type: 'integer' } },
      required: ['n'],
      additionalProperties: false,
    }
    const answer = await openai.chat.completions.parse({
      model: 'gpt-4.1',
      messages: user('a number'),
      response_format: { type: 'json_schema', json_schema: { name: 'number', strict: true, schema } },
    })
    expect(answer.choices[0]?.message.parsed).toEqual({ n: expect.any(Number) as number })
  })

  it('uses the Responses API, streamed and whole', async () => {
    const whole = await openai.responses.create({ model: 'gpt-4.1', input: 'hi' })
    expect(whole.output_text).not.toBe('')
    const events: string[] = []
    const stream = await openai.responses.create({ model: 'gpt-4.1', input: '[tokens=5] hi', stream: true })
    for await (const event of stream) events.push(event.type)
    expect(events[0]).toBe('response.created')
    expect(events).toContain('response.output_text.delta')
    expect(events.at(-1)).toBe('response.completed')
  })

  it('embeds, in floats and in base64, which the SDK asks for by itself', async () => {
    const answer = await openai.embeddings.create({ model: 'text-embedding-3-small', input: ['a', 'b'] })
    expect(answer.data).toHaveLength(2)
    expect(answer.data[0]?.embedding.length).toBeGreaterThan(100)
    expect(answer.usage.prompt_tokens).toBeGreaterThan(0)
  })

  it('speaks, and is understood', async () => {
    const speech = await openai.audio.speech.create({
      model: 'tts-1',
      voice: 'alloy',
      input: 'The gate opens at noon.',
      response_format: 'wav',
    })
    expect(speech.headers.get('content-type')).toContain('audio')
    const file = await toFile(await speech.arrayBuffer(), 'speech.wav')
    const heard = await openai.audio.transcriptions.create({ model: 'whisper-1', file })
    expect(heard.text).toContain('gate opens')
    const text = await openai.audio.transcriptions.create({ model: 'whisper-1', file, response_format: 'text' })
    expect(text).toContain('gate opens')
  })

  it('speaks in events', async () => {
    const answer = await openai.audio.speech.create({
      model: 'tts-1',
      voice: 'alloy',
      input: 'Noon.',
      stream_format: 'sse',
    })
    const types = (await answer.text()).match(/"type":"[\w.]+"/g)
    expect(types?.[0]).toBe('"type":"speech.audio.delta"')
    expect(types?.at(-1)).toBe('"type":"speech.audio.done"')
  })

  it('sends a recording that is too long to be held, with the model behind it', async () => {
    const form = new FormData()
    form.append('file', new Blob([Buffer.alloc(3 * 1024 * 1024, 7)]), 'long.wav')
    form.append('model', 'whisper-1')
    const answer = await fetch(`${door.url}/v1/audio/transcriptions`, {
      method: 'POST',
      body: form,
      headers: { 'api-key': doorKey },
    })
    expect(answer.status).toBe(200)
    expect(((await answer.json()) as { text: string }).text).not.toBe('')
    const direct = new FormData()
    direct.append('model', 'whisper-1')
    direct.append('file', new Blob([Buffer.alloc(3 * 1024 * 1024, 7)]), 'long.wav')
    const streamed = await fetch(`${door.url}/v1/audio/transcriptions`, {
      method: 'POST',
      body: direct,
      headers: { 'api-key': doorKey },
    })
    expect(streamed.status).toBe(200)
  })

  it('lists models: auto, tiers, aliases, models and deployments', async () => {
    const ids: string[] = []
    for await (const model of openai.models.list()) ids.push(model.id)
    expect(ids).toEqual(expect.arrayContaining(['auto', 'small', 'large', 'gpt-4o', 'gpt-4.1', 'gpt-eastus2']))
    expect(ids).not.toContain('medium')
    expect((await openai.models.retrieve('gpt-4o')).owned_by).toBe('sluice')
    expect(await failure(openai.models.retrieve('nope'))).toBeInstanceOf(NotFoundError)
  })

  it('takes an alias, a tier or a deployment for a model', async () => {
    for (const model of ['gpt-4o', 'large', 'gpt-eastus2']) {
      const { response } = await openai.chat.completions.create({ model, messages: user('hi') }).withResponse()
      expect(response.headers.get('x-sluice-model')).toBe('gpt-4.1')
    }
  })

  it('passes unknown fields through and takes Sluice’s own out', async () => {
    const extra = { sluice: { region: { only: ['eastus2'] }, priority: 'interactive' }, verbosity: 'low' }
    const { response } = await openai.chat.completions
      .create({ model: 'gpt-4.1', messages: user('hi'), ...extra } as OpenAI.ChatCompletionCreateParamsNonStreaming)
      .withResponse()
    expect(response.headers.get('x-sluice-region')).toBe('eastus2')
    const headers = { 'x-sluice-region': 'swedencentral', 'x-sluice-tier': 'small' }
    const second = await openai.chat.completions
      .create({ model: 'auto', messages: user('hi') }, { headers })
      .withResponse()
    expect(second.response.headers.get('x-sluice-deployment')).toBe('small-swedencentral')
  })
})

describe('AzureOpenAI', () => {
  it('chats, streams, embeds and responds, with the deployment in the path or the body', async () => {
    const { data, response } = await azure.chat.completions
      .create({ model: 'gpt-4.1', messages: user('hi') })
      .withResponse()
    expect(data.choices).toHaveLength(1)
    expect(new URL(response.url).pathname).toBe('/openai/deployments/gpt-4.1/chat/completions')
    const stream = await azure.chat.completions.create({ model: 'gpt-4.1', messages: user('hi'), stream: true })
    let text = ''
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
    expect(text).not.toBe('')
    const embedded = await azure.embeddings.create({ model: 'text-embedding-3-small', input: 'a' })
    expect(embedded.data).toHaveLength(1)
    expect((await azure.responses.create({ model: 'gpt-4.1', input: 'hi' })).output_text).not.toBe('')
  })

  it('does audio', async () => {
    const speech = await azure.audio.speech.create({
      model: 'tts-1',
      voice: 'alloy',
      input: 'One two.',
      response_format: 'wav',
    })
    const file = await toFile(await speech.arrayBuffer(), 'speech.wav')
    expect((await azure.audio.transcriptions.create({ model: 'whisper-1', file })).text).toContain('One two')
  })

  it('keeps a session in its region, by header and by body', async () => {
    const sessions = new AzureOpenAI({
      apiKey: doorKey,
      endpoint: `${door.url}/openai-realtime`,
      apiVersion: '2024-10-21',
      maxRetries: 0,
    })
    const regions = new Set<string>()
    for (const session of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const seen = new Set<string>()
      for (const ask of [
        () => sessions.chat.completions.create({ model: 'gpt-4.1', messages: user('hi'), user: session }),
        () => sessions.embeddings.create({ model: 'text-embedding-3-small', input: 'hi', user: session }),
        () => sessions.responses.create({ model: 'gpt-4.1', input: 'hi' }, { headers: { 'x-session-id': session } }),
      ]) {
        const { response } = await ask().withResponse()
        seen.add(response.headers.get('x-sluice-region') ?? '')
      }
      expect(seen.size).toBe(1)
      for (const region of seen) regions.add(region)
    }
    expect(regions.size).toBe(2)
  })

  it('stays with a conversation where a failover has led it, as the queue does', async () => {
    const options = { headers: { 'x-sluice-conversation': 'moved' } }
    const regionOf = async () => {
      const ask = openai.chat.completions.create({ model: 'gpt-4.1', messages: user('hi') }, options)
      return (await ask.withResponse()).response.headers.get('x-sluice-region') ?? ''
    }
    const home = await regionOf()
    expect(await regionOf()).toBe(home)
    await fixture.twin.post('faults', { type: 'status', status: 503, resource: home })
    const moved = await regionOf()
    expect(moved).not.toBe(home)
    await fixture.twin.reset()
    for (let turn = 0; turn < 3; turn++) expect(await regionOf()).toBe(moved)
    // What router-workers read.
    const affinity = createRegionAffinity({ redis: fixture.redis.client, deployments: [], clock: systemClock })
    expect((await affinity.find('contoso', 'moved')).last).toBe(moved)
    const ttl = await fixture.redis.client.ttl('sluice:affinity:contoso|moved')
    expect(ttl).toBeGreaterThan(23 * 3600)
  })
})
