import { AuthenticationError, AzureOpenAI, NotFoundError } from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { apiKey, resource, startTwin } from './openai-twin.ts'

interface Target {
  name: string
  endpoint: string
  apiKey: string
  deployment: string
  close: () => Promise<void>
}

const startLocal = async (): Promise<Target> => {
  const under = await startTwin([
    { name: 'chat', model: 'gpt-4.1', tokens_per_minute: 100_000, requests_per_minute: 600 },
  ])
  return {
    name: 'twin',
    endpoint: `${under.twin.url}/r/${resource}`,
    apiKey,
    deployment: 'chat',
    close: () => under.close(),
  }
}

// The same behaviours on the real service, when the environment names a deployment of a chat model there.
const { AZURE_OPENAI_ENDPOINT: endpoint, AZURE_OPENAI_API_KEY: key, AZURE_OPENAI_DEPLOYMENT: deployment } = process.env
const targets: [string, () => Promise<Target>][] = [['the twin', startLocal]]
if (endpoint !== undefined && key !== undefined && deployment !== undefined) {
  targets.push([
    'Azure',
    () => Promise.resolve({ name: 'azure', endpoint, apiKey: key, deployment, close: () => Promise.resolve() }),
  ])
}

describe.each(targets)('what %s and Azure have in common', (_name, start) => {
  let target: Target
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
    target = await start()
    client = connect()
  })
  afterAll(() => target.close())

  test('a completion has usage, a finish reason and Azure’s annotations and headers', async () => {
    const { data, response } = await client.chat.completions
      .create({ model: target.deployment, messages, max_tokens: 50 })
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
      model: target.deployment,
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
      model: target.deployment,
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
      model: target.deployment,
      messages,
      response_format: { type: 'json_schema', json_schema: { name: 'city', strict: true, schema } },
    })
    expect(Object.keys(JSON.parse(completion.choices[0]?.message.content ?? '') as object)).toEqual(['city'])
  })

  test('max_tokens 1 ends with length', async () => {
    const completion = await client.chat.completions.create({ model: target.deployment, messages, max_tokens: 1 })
    expect(completion.choices[0]?.finish_reason).toBe('length')
    expect(completion.usage?.completion_tokens).toBe(1)
  })

  test('errors have their codes and classes: 401, DeploymentNotFound, a bad parameter', async () => {
    const ask = (wrong: AzureOpenAI, model: string) =>
      wrong.chat.completions.create({ model, messages }).catch((error: unknown) => error)
    const unauthorized = await ask(connect({ apiKey: 'wrong' }), target.deployment)
    expect(unauthorized).toBeInstanceOf(AuthenticationError)
    expect(unauthorized).toMatchObject({ status: 401, code: '401' })
    const missing = await ask(client, 'no-such-deployment')
    expect(missing).toBeInstanceOf(NotFoundError)
    expect(missing).toMatchObject({ code: 'DeploymentNotFound' })
    await expect(
      client.chat.completions.create({ model: target.deployment, messages, temperature: 9 }),
    ).rejects.toMatchObject({ status: 400, param: 'temperature' })
  })
})
