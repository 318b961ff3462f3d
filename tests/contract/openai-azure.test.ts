import { AuthenticationError, AzureOpenAI, NotFoundError, OpenAI, toFile } from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isServed, openService, type OpenAIService } from './openai-service.ts'

// What the twin and Azure have in common: the other openai suites set prompts' markers, clocks, quotas and faults, which
// only the twin has. These run on the real service when the environment names it.
describe.runIf(isServed('chat'))('chat', () => {
  let target: OpenAIService
  let client: AzureOpenAI
  const messages = [{ role: 'user' as const, content: 'Name one city in Sweden, in json.' }]
  const connect = (fields: object = {}) =>
    new AzureOpenAI({
      endpoint: target.endpoint,
      apiKey: target.apiKey,
      apiVersion: '2024-10-21',
      maxRetries: 0,
      ...fields,
    })

  beforeAll(async () => {
    target = await openService()
    client = connect()
  })
  afterAll(() => target.close())

  test('a completion has usage, a finish reason and Azure’s annotations and headers', async () => {
    const { data, response } = await client.chat.completions
      .create({ model: target.deployment('chat'), messages, max_tokens: 50 })
      .withResponse()
    expect(data.choices[0]?.finish_reason).toMatch(/stop|length/)
    expect(data.usage?.total_tokens).toBe((data.usage?.prompt_tokens ?? 0) + (data.usage?.completion_tokens ?? 0))
    expect(data).toHaveProperty('prompt_filter_results')
    expect(response.headers.get('apim-request-id')).toBeTruthy()
    expect(response.headers.get('x-ms-region')).toBeTruthy()
    expect(Number(response.headers.get('x-ratelimit-remaining-tokens'))).toBeGreaterThanOrEqual(0)
    expect(Number(response.headers.get('x-ratelimit-remaining-requests'))).toBeGreaterThanOrEqual(0)
  })

  test('a stream ends with a finish reason, and with usage when asked', async () => {
    const stream = await client.chat.completions.create({
      model: target.deployment('chat'),
      messages,
      max_tokens: 20,
      stream: true,
      stream_options: { include_usage: true },
    })
    const chunks = await Array.fromAsync(stream)
    expect(chunks.some((chunk) => chunk.choices[0]?.finish_reason)).toBe(true)
    expect(chunks.at(-1)?.usage?.completion_tokens).toBeGreaterThan(0)
  })

  test('a forced tool is called with JSON arguments', async () => {
    const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
    const completion = await client.chat.completions.create({
      model: target.deployment('chat'),
      messages,
      tools: [{ type: 'function', function: { name: 'show_city', parameters } }],
      tool_choice: { type: 'function', function: { name: 'show_city' } },
    })
    const call = completion.choices[0]?.message.tool_calls?.[0]
    if (call?.type !== 'function') throw new Error('expected a function call')
    expect(typeof (JSON.parse(call.function.arguments) as { city: unknown }).city).toBe('string')
  })

  test('json_schema answers follow the schema', async () => {
    const schema = {
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
      additionalProperties: false,
    }
    const completion = await client.chat.completions.create({
      model: target.deployment('chat'),
      messages,
      response_format: { type: 'json_schema', json_schema: { name: 'city', strict: true, schema } },
    })
    expect(Object.keys(JSON.parse(completion.choices[0]?.message.content ?? '') as object)).toEqual(['city'])
  })

  test('max_tokens 1 ends with length', async () => {
    const completion = await client.chat.completions.create({
      model: target.deployment('chat'),
      messages,
      max_tokens: 1,
    })
    expect(completion.choices[0]?.finish_reason).toBe('length')
    expect(completion.usage?.completion_tokens).toBe(1)
  })

  test('errors have their codes and classes: 401, DeploymentNotFound, a bad parameter', async () => {
    const ask = (wrong: AzureOpenAI, model: string) =>
      wrong.chat.completions.create({ model, messages }).catch((error: unknown) => error)
    const unauthorized = await ask(connect({ apiKey: 'wrong' }), target.deployment('chat'))
    expect(unauthorized).toBeInstanceOf(AuthenticationError)
    expect(unauthorized).toMatchObject({ status: 401, code: '401' })
    const missing = await ask(client, 'no-such-deployment')
    expect(missing).toBeInstanceOf(NotFoundError)
    expect(missing).toMatchObject({ code: 'DeploymentNotFound' })
    await expect(
      client.chat.completions.create({ model: target.deployment('chat'), messages, temperature: 9 }),
    ).rejects.toMatchObject({ status: 400, param: 'temperature' })
  })
})

describe('everything but chat', () => {
  let target: OpenAIService
  let client: OpenAI
  beforeAll(async () => {
    target = await openService()
    client = new OpenAI({ apiKey: target.apiKey, baseURL: `${target.endpoint}/openai/v1`, maxRetries: 0 })
  })
  afterAll(() => target.close())

  test.runIf(isServed('chat'))('a response streams numbered events and can be read back', async () => {
    const model = target.deployment('chat')
    const stream = await client.responses.create({
      model,
      input: 'Name one city.',
      max_output_tokens: 50,
      stream: true,
    })
    const events = await Array.fromAsync(stream)
    expect(events.map(({ sequence_number: number }) => number)).toEqual(events.map((_, index) => index))
    expect(events[0]?.type).toBe('response.created')
    const last = events.at(-1)
    if (last?.type !== 'response.completed' && last?.type !== 'response.incomplete')
      throw new Error(`ended with ${last?.type}`)
    expect((await client.responses.retrieve(last.response.id)).usage).toEqual(last.response.usage)
    await client.responses.delete(last.response.id)
    await expect(client.responses.retrieve(last.response.id)).rejects.toBeInstanceOf(NotFoundError)
  })

  test.runIf(isServed('embedding'))(
    'embeddings put like beside like, with the asked number of dimensions',
    async () => {
      const { data, usage } = await client.embeddings.create({
        model: target.deployment('embedding'),
        input: ['How do I reset my password?', 'How can I reset the password of my account?', 'The tide is low.'],
        dimensions: 256,
      })
      const [question = [], paraphrase = [], other = []] = data.map(({ embedding }) => embedding)
      const cosine = (left: number[], right: number[]) =>
        left.reduce((sum, value, index) => sum + value * (right[index] ?? 0), 0)
      expect(question).toHaveLength(256)
      expect(cosine(question, question)).toBeCloseTo(1, 3)
      expect(cosine(question, paraphrase)).toBeGreaterThan(cosine(question, other))
      expect(usage.prompt_tokens).toBeGreaterThan(10)
    },
  )

  test.runIf(isServed('speech') && isServed('transcription'))('what is spoken is transcribed', async () => {
    const speech = await client.audio.speech.create({
      model: target.deployment('speech'),
      voice: 'alloy',
      input: 'The order leaves on Friday.',
      response_format: 'wav',
    })
    const audio = Buffer.from(await speech.arrayBuffer())
    expect(audio.subarray(0, 4).toString('latin1')).toBe('RIFF')
    const file = await toFile(audio, 'speech.wav')
    const heard = await client.audio.transcriptions.create({ model: target.deployment('transcription'), file })
    expect(heard.text).toMatch(/friday/i)
  })

  test.runIf(isServed('batch'))('a batch is validated and can be cancelled; its file reads back', async () => {
    const row = {
      custom_id: 'one',
      method: 'POST',
      url: '/chat/completions',
      body: { model: target.deployment('batch'), messages: [{ role: 'user', content: 'Hello' }] },
    }
    const content = `${JSON.stringify(row)}\n`
    const file = await client.files.create({ file: await toFile(Buffer.from(content), 'one.jsonl'), purpose: 'batch' })
    expect(await (await client.files.content(file.id)).text()).toBe(content)
    const batch = await client.batches.create({
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    })
    expect(batch).toMatchObject({ object: 'batch', input_file_id: file.id, completion_window: '24h' })
    expect((await client.batches.cancel(batch.id)).status).toMatch(/^cancell/)
    await client.files.delete(file.id)
    await expect(client.files.retrieve(file.id)).rejects.toBeInstanceOf(NotFoundError)
  })

  test.runIf(isServed('realtime'))('a realtime session answers in text, with usage', async () => {
    const url = `${target.endpoint.replace('http', 'ws')}/openai/v1/realtime?model=${target.deployment('realtime')}`
    const socket = new WebSocket(url, { headers: { 'api-key': target.apiKey } })
    const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Name one city.' }] }
    const done = await new Promise<Record<string, unknown>>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no response.done')), 30_000)
      socket.addEventListener('error', () => reject(new Error('the socket failed')))
      socket.addEventListener('message', ({ data }) => {
        const event = JSON.parse(String(data)) as Record<string, unknown> & { type: string }
        if (event.type === 'session.created') {
          for (const message of [
            { type: 'session.update', session: { type: 'realtime', output_modalities: ['text'] } },
            { type: 'conversation.item.create', item },
            { type: 'response.create' },
          ])
            socket.send(JSON.stringify(message))
        }
        if (event.type === 'error') reject(new Error(JSON.stringify(event)))
        if (event.type !== 'response.done') return
        clearTimeout(timer)
        resolve(event)
      })
    }).finally(() => socket.close())
    expect(done['response']).toMatchObject({
      status: 'completed',
      output: [{ type: 'message', role: 'assistant' }],
      usage: { output_tokens: expect.any(Number) as number },
    })
  })
})
