import { request as httpRequest } from 'node:http'
import { AuthenticationError, BadRequestError, NotFoundError, OpenAI } from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { apiKey, eventually, resource, startTwin } from './openai-twin.ts'
import type { TwinUnderTest } from './openai-twin.ts'

describe('errors', () => {
  let under: TwinUnderTest
  let base: string
  const messages = [{ role: 'user' as const, content: 'Hi' }]

  beforeAll(async () => {
    under = await startTwin([
      { name: 'chat', model: 'gpt-4.1', context_tokens: 200, max_output_tokens: 100 },
      { name: 'plain', model: 'phi', capabilities: [] },
      { name: 'reasoner', model: 'o4-mini' },
      { name: 'bulk', model: 'gpt-4.1', kind: 'batch' },
      { name: 'embed', model: 'text-embedding-3-small' },
    ])
    base = `${under.twin.url}/r/${resource}/openai`
  })
  afterAll(() => under.close())

  const post = (path: string, body: string, headers: Record<string, string> = {}) =>
    fetch(`${base}${path}`, {
      method: 'POST',
      body,
      headers: { 'api-key': apiKey, 'content-type': 'application/json', ...headers },
    })

  test('a wrong key is a 401 in the gateway’s words, both keys of a resource work, rotation ends the old ones', async () => {
    const wrong = new OpenAI({ apiKey: 'wrong', baseURL: `${base}/v1`, maxRetries: 0 })
    const error = await wrong.chat.completions.create({ model: 'chat', messages }).catch((failure: unknown) => failure)
    expect(error).toBeInstanceOf(AuthenticationError)
    expect(error).toMatchObject({ status: 401, code: '401' })
    expect(String(error)).toContain('invalid subscription key')
    const second = new OpenAI({ apiKey: 'second-key', baseURL: `${base}/v1`, maxRetries: 0 })
    await expect(second.models.list()).resolves.toBeDefined()
    await under.control('POST', 'keys', { resource, keys: [apiKey] })
    await expect(second.models.list()).rejects.toBeInstanceOf(AuthenticationError)
    const withoutKey = await fetch(`${base}/v1/models`)
    expect(withoutKey.status).toBe(401)
  })

  test('an unknown deployment is a 404 DeploymentNotFound for both clients', async () => {
    for (const client of [under.openai, under.azure]) {
      const error = await client.chat.completions
        .create({ model: 'nowhere', messages })
        .catch((failure: unknown) => failure)
      expect(error).toBeInstanceOf(NotFoundError)
      expect(error).toMatchObject({ code: 'DeploymentNotFound' })
    }
  })

  test('an unknown resource, an unknown path and a missing api-version are 404', async () => {
    const elsewhere = await fetch(`${under.twin.url}/r/nowhere/openai/v1/models`, { headers: { 'api-key': apiKey } })
    expect(elsewhere.status).toBe(404)
    expect((await post('/v1/nothing', '{}')).status).toBe(404)
    const unversioned = await post('/deployments/chat/chat/completions', JSON.stringify({ messages }))
    expect(unversioned.status).toBe(404)
    expect(await unversioned.json()).toEqual({ error: { code: '404', message: 'Resource not found' } })
    expect((await post('/%zz', '{}')).status).toBe(404)
  })

  test('too long a prompt, or a prompt plus maximum beyond the context, is context_length_exceeded', async () => {
    const long = 'word '.repeat(300)
    for (const body of [
      { messages: [{ role: 'user' as const, content: long }] },
      { messages: [{ role: 'user' as const, content: 'word '.repeat(150) }], max_tokens: 100 },
    ]) {
      const error = await under.openai.chat.completions
        .create({ model: 'chat', ...body })
        .catch((failure: unknown) => failure)
      expect(error).toBeInstanceOf(BadRequestError)
      expect(error).toMatchObject({ code: 'context_length_exceeded', type: 'invalid_request_error', param: 'messages' })
      expect(String(error)).toContain('maximum context length is 200 tokens')
    }
  })

  test('a filtered prompt is a 400 content_filter whose innererror names the category', async () => {
    const filtered = under.azure.chat.completions.create({
      model: 'chat',
      messages: [{ role: 'user', content: 'x [content_filter=hate]' }],
    })
    await expect(filtered).rejects.toMatchObject({
      status: 400,
      code: 'content_filter',
      param: 'prompt',
      error: {
        innererror: {
          code: 'ResponsibleAIPolicyViolation',
          content_filter_result: { hate: { filtered: true, severity: 'high' }, violence: { filtered: false } },
        },
      },
    })
  })

  test('a filtered completion ends with finish_reason content_filter, in a stream after some text', async () => {
    const request = {
      model: 'chat',
      messages: [{ role: 'user' as const, content: 'Long story please [content_filter=stream:violence]' }],
    }
    const whole = await under.openai.chat.completions.create(request)
    expect(whole.choices[0]).toMatchObject({
      finish_reason: 'content_filter',
      content_filter_results: { violence: { filtered: true } },
    })
    let text = ''
    let finish: string | null = null
    for await (const chunk of await under.openai.chat.completions.create({ ...request, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? ''
      finish = chunk.choices[0]?.finish_reason ?? finish
    }
    expect(text).not.toBe('')
    expect(finish).toBe('content_filter')
  })

  test('what a deployment cannot do is refused: vision, tools, json_schema, logprobs, max_tokens on reasoning', async () => {
    const image = [
      {
        role: 'user' as const,
        content: [{ type: 'image_url' as const, image_url: { url: 'data:image/png;base64,AA==' } }],
      },
    ]
    const tools = [{ type: 'function' as const, function: { name: 'f', parameters: {} } }]
    const format = { type: 'json_schema' as const, json_schema: { name: 's', schema: { type: 'object' } } }
    const attempts = [
      [under.openai.chat.completions.create({ model: 'plain', messages: image }), 'image_url'],
      [under.openai.chat.completions.create({ model: 'plain', messages, tools }), 'tools'],
      [under.openai.chat.completions.create({ model: 'plain', messages, response_format: format }), 'response_format'],
      [under.openai.chat.completions.create({ model: 'plain', messages, logprobs: true }), 'logprobs'],
      [under.openai.chat.completions.create({ model: 'reasoner', messages, max_tokens: 5 }), 'max_tokens'],
    ] as const
    for (const [attempt, param] of attempts)
      await expect(attempt).rejects.toMatchObject({ status: 400, code: 'unsupported_parameter', param })
  })

  test('an operation that the model does not have, or an online call of a batch deployment, is OperationNotSupported', async () => {
    const unsupported = { status: 400, code: 'OperationNotSupported' }
    await expect(under.openai.chat.completions.create({ model: 'embed', messages })).rejects.toMatchObject(unsupported)
    await expect(under.openai.embeddings.create({ model: 'chat', input: 'x' })).rejects.toMatchObject(unsupported)
    await expect(under.openai.chat.completions.create({ model: 'bulk', messages })).rejects.toMatchObject(unsupported)
  })

  test.each([
    ['{', null, null],
    ['[]', null, null],
    ['{"model":"chat"}', 'messages', 'missing_required_parameter'],
    ['{"messages":[{"role":"user","content":"x"}]}', 'model', 'missing_required_parameter'],
    ['{"model":"chat","messages":"x"}', 'messages', 'invalid_type'],
    ['{"model":"chat","messages":[]}', 'messages', 'empty_array'],
    ['{"model":"chat","messages":[1]}', 'messages[0]', 'invalid_type'],
    ['{"model":"chat","messages":[{"role":"king","content":"x"}]}', 'messages[0].role', 'invalid_value'],
    ['{"model":"chat","messages":[{"role":"user","content":null}]}', 'messages.[0].content', null],
    [
      '{"model":"chat","messages":[{"role":"user","content":"x"}],"temperature":3}',
      'temperature',
      'decimal_above_max_value',
    ],
    ['{"model":"chat","messages":[{"role":"user","content":"x"}],"n":0}', 'n', 'integer_below_min_value'],
    [
      '{"model":"chat","messages":[{"role":"user","content":"x"}],"max_tokens":0}',
      'max_tokens',
      'integer_below_min_value',
    ],
    ['{"model":"chat","messages":[{"role":"user","content":"x"}],"max_tokens":101}', 'max_tokens', 'invalid_value'],
    ['{"model":"chat","messages":[{"role":"user","content":"x"}],"stream":"yes"}', 'stream', 'invalid_type'],
    [
      '{"model":"chat","messages":[{"role":"user","content":"x"}],"response_format":{"type":"xml"}}',
      'response_format.type',
      'invalid_value',
    ],
    [
      '{"model":"chat","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"a b"}}]}',
      'tools[0].function.name',
      'invalid_value',
    ],
  ])('%s is a 400 that names the parameter', async (body, param, code) => {
    const response = await post('/v1/chat/completions', body)
    expect(response.status).toBe(400)
    const { error } = (await response.json()) as { error: object }
    expect(error).toMatchObject({ type: 'invalid_request_error', param, code })
  })

  test('another content type is a 415, a body over the limit a 413', async () => {
    expect((await post('/v1/chat/completions', 'x', { 'content-type': 'text/plain' })).status).toBe(415)
    const answered = new Promise<number | undefined>((resolve, reject) => {
      const headers = {
        'api-key': apiKey,
        'content-type': 'application/json',
        'content-length': String(64 * 1024 * 1024),
      }
      const call = httpRequest(`${base}/v1/chat/completions`, { method: 'POST', headers }, (response) => {
        resolve(response.statusCode)
        call.destroy()
      })
      call.on('error', reject)
      call.write('{')
    })
    expect(await answered).toBe(413)
  })

  test('a client that leaves in the middle of its body harms nobody', async () => {
    const headers = {
      'api-key': apiKey,
      'content-type': 'application/json',
      'content-length': '1000',
      'x-ms-client-request-id': 'left-early',
    }
    const call = httpRequest(`${base}/v1/chat/completions`, { method: 'POST', headers })
    call.on('error', () => undefined)
    call.write('{"model":')
    await eventually(
      () => under.control('GET', 'state'),
      (state) => state.open_calls === 1,
    )
    call.destroy()
    const { calls } = await eventually(
      () => under.control('GET', 'calls'),
      ({ calls: rows }) =>
        rows?.some((row) => row.client_request_id === 'left-early' && row.outcome !== 'open') ?? false,
    )
    expect(calls?.find((row) => row.client_request_id === 'left-early')?.outcome).toBe('aborted')
    await expect(under.openai.models.list()).resolves.toBeDefined()
  })

  test('answers carry Azure’s headers and echo the client’s request id', async () => {
    const response = await under.azure.chat.completions
      .create({ model: 'chat', messages }, { headers: { 'x-ms-client-request-id': 'mine' } })
      .asResponse()
    expect(response.headers.get('x-ms-region')).toBe('Sweden Central')
    expect(response.headers.get('apim-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    expect(response.headers.get('x-request-id')).toBe(response.headers.get('apim-request-id'))
    expect(response.headers.get('azureml-model-session')).toBeTruthy()
    expect(response.headers.get('x-ms-client-request-id')).toBe('mine')
  })
})
