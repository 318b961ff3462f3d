import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Deployment, RequestBody } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { costUsd, createModels, type Models, upstreamStatus } from '@sluice/models'
import { systemClock } from '@sluice/resilience'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { deploymentOn, type ModelTwin, startModelTwin } from './model-twin.ts'

let twin: ModelTwin
beforeAll(async () => {
  const deployments = [
    { name: 'gpt', model: 'gpt-4.1' },
    { name: 'short', model: 'gpt-4.1', context_tokens: 100 },
    { name: 'tight', model: 'gpt-4.1', tokens_per_minute: 100, requests_per_minute: 60 },
    { name: 'embed', model: 'text-embedding-3-small' },
  ]
  twin = await startModelTwin({ config: { resources: [{ name: 'swedencentral', deployments }] } })
})
afterAll(() => twin.close())

let models: Models | undefined
const servers: Server[] = []
afterEach(async () => {
  await models?.close()
  models = undefined
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})
beforeEach(() => twin.reset())

const chat = (content: string, more: object = {}): RequestBody => ({
  model: 'auto',
  messages: [{ role: 'user', content }],
  ...more,
})

function call(deployment: Deployment, body: RequestBody, options: { timeoutMs?: number; signal?: AbortSignal } = {}) {
  models ??= createModels({ deployments: [deployment], clock: systemClock })
  const { signal, ...rest } = options
  const url = '/v1/chat/completions' as const
  return models.call(deployment, { url, body, requestId: 'req_1', ...rest }, signal)
}

async function failureOf(pending: Promise<unknown>): Promise<AppError> {
  const error = await pending.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof AppError)) throw new Error(`expected an AppError, got ${String(error)}`)
  return error
}

/** A server that answers in ways that the twin does not. */
async function odd(listener: RequestListener): Promise<Deployment> {
  const server = createServer(listener)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return deploymentOn(twin, 'odd', { endpoint: `http://127.0.0.1:${port}/openai/v1` })
}

const answering = (status: number, body: string, headers: Record<string, string> = {}) =>
  odd((_req, res) => res.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body))

describe('an answer', () => {
  it('is returned whole, with usage, remaining quota and the provider id', async () => {
    const answer = await call(deploymentOn(twin, 'gpt'), chat('[answer=four] two and two?'))
    expect(answer).toMatchObject({ status: 200, body: { object: 'chat.completion' } })
    expect(answer.usage.input_tokens).toBeGreaterThan(5)
    expect(answer.usage.output_tokens).toBeGreaterThan(0)
    expect(answer.requestId).not.toBe('req_1')
    expect(answer.ms).toBeGreaterThan(0)
    const unlimited = await call(deploymentOn(twin, 'gpt'), chat('again'))
    expect(unlimited.remainingTokens).toBeUndefined()
  })

  it('tells what is left of a quota', async () => {
    const answer = await call(deploymentOn(twin, 'tight'), chat('hi'))
    // `user: hi\n` is 9 characters, 3 tokens; 16 more for an output without a maximum.
    expect(answer.remainingTokens).toBe(81)
    expect(answer.remainingRequests).toBe(59)
  })

  it('comes from the deployment that was asked, under its name at the provider, never streamed', async () => {
    const deployment = deploymentOn(twin, 'ours', { azure_name: 'gpt' })
    const answer = await call(deployment, chat('hi', { stream: true, stream_options: { include_usage: true } }))
    expect(answer.body).toMatchObject({ object: 'chat.completion' })
    expect(await twin.calls()).toMatchObject([{ deployment: 'gpt', client_request_id: 'req_1' }])
  })

  it('carries the trace on and leaves the caller’s body alone', async () => {
    const deployment = deploymentOn(twin, 'gpt')
    const body = chat('hi', { stream: true })
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    models = createModels({ deployments: [deployment], clock: systemClock })
    await models.call(deployment, { url: '/v1/chat/completions', body, requestId: 'req_2', traceparent })
    expect((await twin.calls())[0]?.headers).toMatchObject({ traceparent })
    expect(body).toEqual(chat('hi', { stream: true }))
  })

  it.each([
    ['/v1/responses', 'gpt', { model: 'auto', input: 'hi' }],
    ['/v1/embeddings', 'embed', { model: 'auto', input: 'hi' }],
  ] as const)('of %s has its usage read too', async (url, name, body) => {
    const deployment = deploymentOn(twin, name)
    models = createModels({ deployments: [deployment], clock: systemClock })
    const answer = await models.call(deployment, { url, body, requestId: 'req_3' })
    expect(answer.usage.input_tokens).toBeGreaterThan(0)
  })
})

describe('an error', () => {
  const fault = (fields: object) => twin.post('faults', { deployment: 'gpt', ...fields })

  it.each([
    [429, { retry_after_ms: 1234 }, 'model_rate_limited', 1234],
    [500, {}, 'model_unavailable', undefined],
    [503, { retry_after_ms: 2000 }, 'model_unavailable', 2000],
    [408, {}, 'model_unavailable', undefined],
    [401, {}, 'model_unauthorized', undefined],
    [404, {}, 'model_unavailable', undefined],
  ])('%i fails over, with the wait that it names', async (status, more, code, retryAfterMs) => {
    await fault({ type: 'status', status, ...more })
    const error = await failureOf(call(deploymentOn(twin, 'gpt'), chat('hi')))
    expect(error).toMatchObject({ code, retryAfterMs, disposition: 'fail_over' })
    expect(upstreamStatus(error)).toBe(status)
    // The SDK's own retries are off.
    expect(await twin.calls()).toHaveLength(1)
  })

  it('reads retry-after in seconds and as a date, and distrusts nonsense', async () => {
    const error = JSON.stringify({ error: { code: '429', message: 'slow down' } })
    const wait = async (headers: Record<string, string>) => {
      const deployment = await answering(429, error, headers)
      const failure = await failureOf(call(deployment, chat('hi')))
      await models?.close()
      models = undefined
      return failure.retryAfterMs
    }
    expect(await wait({ 'retry-after': '7' })).toBe(7_000)
    const inFiveSeconds = await wait({ 'retry-after': new Date(Date.now() + 6_000).toUTCString() })
    expect(inFiveSeconds).toBeGreaterThan(1_000)
    expect(inFiveSeconds).toBeLessThanOrEqual(6_000)
    expect(await wait({ 'retry-after': 'soon' })).toBeUndefined()
    expect(await wait({ 'retry-after-ms': '-5', 'retry-after': '2' })).toBe(2_000)
  })

  it('of a quota is the provider’s own 429', async () => {
    const error = await failureOf(call(deploymentOn(twin, 'tight'), chat('hi', { max_tokens: 99 })))
    expect(error).toMatchObject({ code: 'model_rate_limited', disposition: 'fail_over' })
    expect(error.retryAfterMs).toBeGreaterThan(0)
  })

  it('about the content names the category and not the prompt', async () => {
    const error = await failureOf(call(deploymentOn(twin, 'gpt'), chat('my secret plan [content_filter=violence]')))
    expect(error).toMatchObject({ code: 'content_policy', disposition: 'fail' })
    expect(error.message).toContain('(violence)')
    expect(JSON.stringify([error.message, error.cause])).not.toContain('secret plan')
  })

  it('about the context length is told from other rejections, which keep status, param and the provider’s words', async () => {
    const long = await failureOf(call(deploymentOn(twin, 'short'), chat('word '.repeat(300))))
    expect(long).toMatchObject({ code: 'context_length_exceeded', param: 'body.messages', disposition: 'fail' })
    await models?.close()
    models = undefined
    const bad = await failureOf(call(deploymentOn(twin, 'gpt'), chat('hi', { temperature: 9 })))
    expect(bad).toMatchObject({ code: 'model_rejected', param: 'body.temperature', status: 400 })
    expect(bad.message).toContain('temperature')
  })

  it('about a stored response that is gone is the caller’s, not the deployment’s', async () => {
    const deployment = deploymentOn(twin, 'gpt')
    models = createModels({ deployments: [deployment], clock: systemClock })
    const body = { model: 'auto', input: 'hi', previous_response_id: 'resp_gone' }
    const error = await failureOf(models.call(deployment, { url: '/v1/responses', body, requestId: 'req_4' }))
    expect(error).toMatchObject({ code: 'model_rejected', param: 'body.previous_response_id' })
  })

  it.each([
    ['refuses the connection', 'http://127.0.0.1:1/openai/v1'],
    ['does not exist', 'http://nowhere.invalid/openai/v1'],
  ])('of a server that %s names the cause and no address', async (_name, endpoint) => {
    const error = await failureOf(call(deploymentOn(twin, 'gpt', { endpoint }), chat('hi')))
    expect(error.code).toBe('model_unavailable')
    expect(error.message).toMatch(/\((ECONNREFUSED|ENOTFOUND|EAI_AGAIN)\)/)
    expect(upstreamStatus(error)).toBe(0)
  })

  it.each(['headers', 'body'])('of a connection cut in the %s fails over', async (at) => {
    await fault({ type: 'drop', at })
    expect(await failureOf(call(deploymentOn(twin, 'gpt'), chat('hi')))).toMatchObject({ code: 'model_unavailable' })
  })

  it.each([
    ['not JSON', '<html>busy</html>'],
    ['empty', ''],
    ['half a JSON', '{"choices":['],
  ])('of a 200 that is %s fails over', async (_name, text) => {
    expect(await failureOf(call(await answering(200, text), chat('hi')))).toMatchObject({ code: 'model_unavailable' })
  })

  it.each([
    ['an HTML page', '<html>bad gateway</html>', 502, 'model_unavailable'],
    ['a string', '"no"', 400, 'model_rejected'],
    ['an error of wrong types', '{"error":{"code":7,"message":{},"param":[],"innererror":"x"}}', 400, 'model_rejected'],
    ['a null', 'null', 422, 'model_rejected'],
  ])('whose body is %s is still understood', async (_name, text, status, code) => {
    expect(await failureOf(call(await answering(status, text), chat('hi')))).toMatchObject({ code })
  })
})

describe('time', () => {
  it('bounds a deployment that never answers by its own timeout', async () => {
    await twin.post('faults', { type: 'hang', deployment: 'gpt' })
    const error = await failureOf(call(deploymentOn(twin, 'gpt', { timeout_ms: 60 }), chat('hi')))
    expect(error).toMatchObject({ code: 'model_timeout', disposition: 'fail_over' })
    expect(upstreamStatus(error)).toBe(0)
  })

  it('bounds a body that never ends, and the caller may allow less', async () => {
    const deployment = await odd((_req, res) => {
      res.writeHead(200, { 'content-type': 'application/json' }).write('{"choices":[')
    })
    expect(await failureOf(call(deployment, chat('hi'), { timeoutMs: 60 }))).toMatchObject({ code: 'model_timeout' })
  })

  it('ends at an abort, which also ends the call at the provider', async () => {
    await twin.post('faults', { type: 'hang', deployment: 'gpt' })
    const reason = new AppError('cancelled', 'The caller changed his mind.')
    const controller = new AbortController()
    const pending = failureOf(call(deploymentOn(twin, 'gpt'), chat('hi'), { signal: controller.signal }))
    const deadline = Date.now() + 5_000
    while ((await twin.calls()).length === 0) if (Date.now() > deadline) throw new Error('the call did not arrive')
    controller.abort(reason)
    expect(await pending).toBe(reason)
    for (;;) {
      const [only] = await twin.calls()
      if (only?.outcome === 'aborted') break
      if (Date.now() > deadline) throw new Error(`the call goes on: ${only?.outcome}`)
    }
  })

  it('does not call at all when it was aborted before', async () => {
    const reason = new AppError('shutting_down', 'The worker is draining.')
    const signal = AbortSignal.abort(reason)
    expect(await failureOf(call(deploymentOn(twin, 'gpt'), chat('hi'), { signal }))).toBe(reason)
    expect(await twin.calls()).toHaveLength(0)
  })
})

it('costs input, cached and output tokens at their own prices', () => {
  const usage = { input_tokens: 1_000_000, cached_tokens: 400_000, output_tokens: 100_000, reasoning_tokens: 0 }
  expect(costUsd({ input: 2, cached: 0.5, output: 8 }, usage)).toBeCloseTo(1.2 + 0.2 + 0.8, 10)
  expect(costUsd({ input: 2, output: 8 }, usage)).toBeCloseTo(2 + 0.8, 10)
  expect(costUsd({ input: 2, cached: 0.5, output: 8 }, { ...usage, cached_tokens: 5_000_000 })).toBeCloseTo(1.3, 10)
})
