import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type AnswerCache, type CacheAsk, type CachedAnswer, createAnswerCache, replayStream } from '@sluice/cache'
import { type CacheConfig, emptyUsage } from '@sluice/contracts'
import { systemClock } from '@sluice/resilience'
import { createLogger, createMetrics } from '@sluice/telemetry'
import OpenAI from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { deploymentOn, type ModelTwin, startModelTwin } from './model-twin.ts'
import { type StandIns, startStorage } from './storage-stand-ins.ts'

const config: CacheConfig = {
  exact_ttl_seconds: 3600,
  semantic_ttl_seconds: 3600,
  threshold: 0.8,
  max_entry_bytes: 20_000,
}
let storage: StandIns
let twin: ModelTwin
let openai: OpenAI
let embedded: { text: string; tenant: string }[] = []

beforeAll(async () => {
  storage = await startStorage()
  twin = await startModelTwin({
    config: {
      resources: [
        {
          name: 'swedencentral',
          region: 'swedencentral',
          keys: ['twin-key-swedencentral'],
          deployments: [
            { name: 'chat', model: 'gpt-4.1' },
            { name: 'embed', model: 'text-embedding-3-small' },
          ],
        },
      ],
    },
  })
  const { endpoint, api_key } = deploymentOn(twin, 'embed')
  openai = new OpenAI({ baseURL: endpoint, apiKey: api_key ?? '', maxRetries: 0 })
})
afterAll(async () => {
  await twin.close()
  await storage.stop()
})

const lines: string[] = []
async function open(change: Partial<CacheConfig> = {}, database = storage.database()): Promise<AnswerCache> {
  embedded = []
  return createAnswerCache({
    cosmos: await database,
    config: { ...config, ...change },
    embed: async (text, tenant, signal) => {
      embedded.push({ text, tenant })
      const answer = await openai.embeddings.create({ model: 'embed', input: text }, { signal })
      return answer.data[0]?.embedding ?? []
    },
    clock: systemClock,
    logger: createLogger({ service: 'test', destination: { write: (line) => void lines.push(line) } }),
    metrics: createMetrics('test'),
  })
}

const ask = (content: string, tenant = 'contoso', more: object = {}): CacheAsk => ({
  tenant,
  url: '/v1/chat/completions',
  body: { model: 'auto', messages: [{ role: 'user', content }], ...more },
})
const answerOf = (content: string, more: Partial<CachedAnswer> = {}): CachedAnswer => ({
  status_code: 200,
  content_type: 'application/json',
  body: { object: 'chat.completion', choices: [{ index: 0, finish_reason: 'stop', message: { content } }] },
  usage: { ...emptyUsage, input_tokens: 3, output_tokens: 4 },
  cost_usd: 0.01,
  model: 'gpt-4.1',
  deployment: 'chat',
  region: 'swedencentral',
  tier: 'large',
  ...more,
})

test('an exact hit is the stored answer, for its tenant alone', async () => {
  const cache = await open()
  expect(await cache.lookup(ask('Capital of France?'), 'exact')).toBeUndefined()
  cache.store(ask('Capital of France?'), 'exact', answerOf('Paris'))
  await cache.close()
  const hit = await cache.lookup(ask('Capital of France?', 'contoso', { stream: true }), 'exact')
  expect(hit).toEqual({ similarity: 1, answer: answerOf('Paris') })
  expect(await cache.lookup(ask('Capital of France?', 'fabrikam'), 'exact')).toBeUndefined()
  expect(embedded).toEqual([])
})

test('speech comes back as the same bytes', async () => {
  const cache = await open()
  const speech: CacheAsk = { tenant: 'contoso', url: '/v1/audio/speech', body: { model: 'tts-1', input: 'Hello' } }
  const bytes = Buffer.from([0, 1, 2, 254, 255])
  cache.store(speech, 'exact', answerOf('', { body: bytes, content_type: 'audio/mpeg' }))
  await cache.close()
  const hit = await cache.lookup(speech, 'exact')
  expect(hit?.answer.content_type).toBe('audio/mpeg')
  expect(Buffer.compare(hit?.answer.body as Buffer, bytes)).toBe(0)
})

test('a semantic hit is a prompt that means the same, of the same tenant with the same parameters', async () => {
  const database = storage.database()
  const cache = await open({}, database)
  const stored = ask('What is the capital city of France?')
  const similar = 'What is the capital city of France, please?'
  cache.store(stored, 'semantic', answerOf('Paris'))
  await cache.close()
  expect((await cache.lookup(ask(similar), 'semantic'))?.answer).toEqual(answerOf('Paris'))
  // Another worker finds it in Cosmos.
  const other = await open({}, database)
  const hit = await other.lookup(ask(similar), 'semantic')
  expect(hit?.similarity).toBeGreaterThanOrEqual(config.threshold)
  expect(hit?.similarity).toBeLessThan(1)
  expect(await other.lookup(ask(similar, 'fabrikam'), 'semantic')).toBeUndefined()
  expect(await other.lookup(ask(similar, 'contoso', { temperature: 1 }), 'semantic')).toBeUndefined()
  expect(await other.lookup(ask('How do I bake sourdough bread at home?'), 'semantic')).toBeUndefined()
  expect(await other.lookup(ask(similar), 'exact')).toBeUndefined()
  expect(embedded.map(({ tenant }) => tenant)).toContain('fabrikam')
})

test('entries end with their time to live', async () => {
  const cache = await open({ exact_ttl_seconds: 1, semantic_ttl_seconds: 1 })
  cache.store(ask('Short-lived?'), 'semantic', answerOf('Yes'))
  await cache.close()
  const until = Date.now() + 20_000
  while ((await cache.lookup(ask('Short-lived?'), 'semantic')) !== undefined) {
    if (Date.now() > until) throw new Error('the entry does not end')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
})

test('cut answers and very large ones are not kept', async () => {
  const cache = await open()
  const cut = { choices: [{ index: 0, finish_reason: 'length', message: { content: 'x' } }] }
  cache.store(ask('Cut?'), 'exact', answerOf('', { body: cut }))
  cache.store(ask('Large?'), 'exact', answerOf('x'.repeat(30_000)))
  await cache.close()
  expect(await cache.lookup(ask('Cut?'), 'exact')).toBeUndefined()
  expect(await cache.lookup(ask('Large?'), 'exact')).toBeUndefined()
})

test('a store that fails is a miss, and no log line holds the prompt', async () => {
  const cache = await open()
  await storage.fault({ type: 'unavailable' })
  try {
    expect(await cache.lookup(ask('SECRET-PROMPT'), 'exact')).toBeUndefined()
  } finally {
    await storage.heal()
  }
  expect(lines.join('\n')).not.toContain('SECRET-PROMPT')
})

test('a replayed stream reads like the answer through the unmodified SDK', async () => {
  const chat = await openai.chat.completions.create({
    model: 'chat',
    messages: [{ role: 'user', content: 'Name 3 fruits.' }],
  })
  const response = await openai.responses.create({ model: 'chat', input: 'Name 3 fruits.' })
  const server = createServer((request, reply) => {
    const body = request.url?.endsWith('/responses') === true ? response : chat
    reply.writeHead(200, { 'content-type': 'text/event-stream' }).end(replayStream(body, true).join(''))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const replayed = new OpenAI({ baseURL: `http://127.0.0.1:${port}`, apiKey: 'x', maxRetries: 0 })
  try {
    const stream = replayed.chat.completions.stream({
      model: 'chat',
      messages: [],
      stream_options: { include_usage: true },
    })
    const final = await stream.finalChatCompletion()
    expect(final.choices[0]?.message.content).toBe(chat.choices[0]?.message.content)
    expect(final.choices[0]?.finish_reason).toBe('stop')
    expect(final.usage).toEqual(chat.usage)
    const events = replayed.responses.stream({ model: 'chat', input: 'x' })
    expect((await events.finalResponse()).output_text).toBe(response.output_text)
  } finally {
    server.close()
    server.closeAllConnections()
  }
})
