import { type Admission, assumeIdle, createAdmission } from '@sluice/admission'
import { type Deployment, type RequestBody, routingConfigSchema } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { createExecution, type Execution, type Outcome, type RunInput } from '@sluice/execution'
import { createModels, type Models } from '@sluice/models'
import { systemClock } from '@sluice/resilience'
import * as routing from '@sluice/routing'
import { createLogger, createMetrics, type Metrics } from '@sluice/telemetry'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { deploymentOn, type ModelTwin, startModelTwin } from './model-twin.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

let twin: ModelTwin
let redis: PrivateRedis
beforeAll(async () => {
  redis = await startPrivateRedis()
  const names = ['nano', 'mini', 'big']
  twin = await startModelTwin({
    config: {
      resources: ['swedencentral', 'eastus2'].map((name) => ({
        name,
        deployments: names.map((deployment) => ({ name: deployment, model: 'gpt-4.1' })),
      })),
    },
  })
})
afterAll(async () => {
  await twin.close()
  await redis.close()
})

let execution: Execution
let admission: Admission
let models: Models
let metrics: Metrics
let lines: string[]

const quota = { tokens_per_minute: 100_000, requests_per_minute: 6_000 }

function start(change: (deployment: Deployment) => Deployment = (deployment) => deployment) {
  const at = (name: string, resource: string, fields: Partial<Deployment>) =>
    change(
      deploymentOn(twin, `${name}-${resource}`, { azure_name: name, resource, model: `m-${name}`, quota, ...fields }),
    )
  const deployments = [
    at('nano', 'swedencentral', { tier: 'small', price: { input: 0.1, output: 0.4 } }),
    at('nano', 'eastus2', { tier: 'small', price: { input: 0.1, output: 0.4 } }),
    at('mini', 'eastus2', { tier: 'medium', price: { input: 0.4, output: 1.6 } }),
    at('big', 'swedencentral', { tier: 'large', price: { input: 2, output: 8 } }),
  ]
  const config = { routing: routingConfigSchema.parse({ thresholds: { medium: 0.2, large: 0.5 } }), deployments }
  const logger = createLogger({ service: 'test', destination: { write: (line) => void lines.push(line) } })
  metrics = createMetrics('test')
  admission = createAdmission({ redis: redis.client, clock: systemClock, logger })
  models = createModels({ deployments, clock: systemClock })
  execution = createExecution({ config, routing, admission, models, logger, metrics, clock: systemClock })
}

beforeEach(async () => {
  lines = []
  await redis.client.flushall()
  await assumeIdle(redis.client)
  await twin.reset()
})
afterEach(async () => {
  admission.close()
  await models.close()
})

const chat = (content: string, more: object = {}): RequestBody => ({
  model: 'auto',
  messages: [{ role: 'user', content }],
  ...more,
})

function run(body: RequestBody, more: Partial<RunInput> & { signal?: AbortSignal } = {}): Promise<Outcome> {
  const { signal = new AbortController().signal, ...input } = more
  return execution.run({ requestId: 'req_1', tenant: 'contoso', url: '/v1/chat/completions', body, ...input }, signal)
}

const fault = (fields: object) => twin.post('faults', fields)
const failing = (deployment: string, resource: string, status: number, more: object = {}) =>
  fault({ type: 'status', status, deployment, resource, ...more })
const called = async () => (await twin.calls()).map((call) => `${call.deployment}-${call.resource} ${call.status}`)

describe('a run', () => {
  it('scores, reserves, calls and accounts', async () => {
    start()
    const outcome = await run(chat('Good morning [tokens=10]'))
    expect(outcome).toMatchObject({
      kind: 'done',
      status: 'succeeded',
      response: { status_code: 200, body: { object: 'chat.completion' } },
      error: null,
      decision: {
        tier: 'small',
        model: 'm-nano',
        deployment: 'nano-swedencentral',
        region: 'swedencentral',
        cache: 'off',
        escalated: false,
        attempts: [{ deployment: 'nano-swedencentral', region: 'swedencentral', status: 200 }],
      },
    })
    if (outcome.kind !== 'done') throw new Error('expected an end')
    const { usage, costUsd, alwaysLargeUsd } = outcome
    expect(usage.output_tokens).toBeGreaterThan(0)
    expect(costUsd).toBeCloseTo((usage.input_tokens * 0.1 + usage.output_tokens * 0.4) / 1e6, 12)
    expect(alwaysLargeUsd).toBeCloseTo(costUsd * 20, 12)
    expect(outcome.modelMs).toBeGreaterThan(0)
    expect(outcome.decision.score).toBeLessThan(0.2)
    const { text } = await metrics.render()
    expect(text).toContain('sluice_model_calls_total{deployment="nano-swedencentral",outcome="ok",service="test"} 1')
  })

  it('reserves no more and no less than the provider counts', async () => {
    start()
    const bodies = [
      chat('Good morning'),
      chat('Hi', { max_tokens: 77, n: 2 }),
      chat('x'.repeat(999), { max_tokens: 5 }),
    ]
    for (const body of bodies) await run(body)
    const seen = await Promise.all(
      ['nano-swedencentral', 'nano-eastus2'].map((name) =>
        admission.reserve({ candidates: [{ name, tokensPerMinute: 100_000, requestsPerMinute: 6_000 }], tokens: 1 }),
      ),
    )
    const counted = (await twin.calls()).reduce((sum, call) => sum + call.estimated_tokens, 0)
    const used = seen.map((room) => (room.kind === 'granted' ? room.usedTokens + room.unseenTokens : 0))
    expect(used.reduce((sum, tokens) => sum + tokens, 0)).toBe(counted + 2)
  })

  it('carries the trace to the deployment', async () => {
    start()
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await run(chat('hi'), { traceparent })
    const sent = (await twin.calls())[0]?.headers['traceparent']
    expect(sent).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/)
    expect(sent).not.toBe(traceparent)
  })

  it('tells of each call before it is made, and makes none when that fails', async () => {
    start()
    await failing('nano', 'swedencentral', 500)
    const told: string[] = []
    await run(chat('hi'), { onAttempt: ({ deployment, number }) => void told.push(`${number} ${deployment}`) })
    expect(told).toEqual(['1 nano-swedencentral', '2 nano-eastus2'])
    await twin.reset()
    const lost = new AppError('lease_lost', 'Somebody else owns the row.')
    await expect(run(chat('hi'), { onAttempt: () => Promise.reject(lost) })).rejects.toBe(lost)
    // Also when the error is one that could have been the request's own.
    const cancelled = new AppError('cancelled', 'The row says so.')
    await expect(run(chat('hi'), { onAttempt: () => Promise.reject(cancelled) })).rejects.toBe(cancelled)
    expect(await called()).toEqual([])
  })
})

describe('failing over', () => {
  it('goes to another deployment on 429 and leaves the refused one alone for as long as it asked', async () => {
    start()
    await failing('nano', 'swedencentral', 429, { retry_after_ms: 30_000, count: 1 })
    const outcome = await run(chat('hi'))
    expect(outcome).toMatchObject({
      status: 'succeeded',
      decision: {
        deployment: 'nano-eastus2',
        attempts: [
          { deployment: 'nano-swedencentral', status: 429, code: 'model_rate_limited' },
          { deployment: 'nano-eastus2', status: 200 },
        ],
      },
    })
    await expect
      .poll(
        async () => {
          await twin.reset()
          await run(chat('hi'))
          return called()
        },
        { timeout: 10_000 },
      )
      .toEqual(['nano-eastus2 200'])
  })

  it.each([500, 503, 408, 401, 404])('goes on after %i', async (status) => {
    start()
    await failing('nano', 'swedencentral', status)
    expect(await run(chat('hi'))).toMatchObject({ status: 'succeeded', decision: { deployment: 'nano-eastus2' } })
    expect(lines.join()).toContain('a deployment did not answer')
  })

  it('goes on after a cut connection and after a timeout', async () => {
    start((deployment) => ({ ...deployment, timeout_ms: 80 }))
    await fault({ type: 'drop', deployment: 'nano', resource: 'swedencentral' })
    await fault({ type: 'hang', deployment: 'nano', resource: 'eastus2' })
    const outcome = await run(chat('hi'))
    expect(outcome).toMatchObject({
      status: 'succeeded',
      decision: {
        tier: 'medium',
        deployment: 'mini-eastus2',
        attempts: [{ status: 0, code: 'model_unavailable' }, { status: 0, code: 'model_timeout' }, { status: 200 }],
      },
    })
  })

  it('goes to another region when one is out, calls in flight included', async () => {
    start()
    await fault({ type: 'hang', resource: 'swedencentral' })
    const pending = run(chat('hi'))
    await expect.poll(async () => (await twin.calls()).length, { timeout: 10_000 }).toBe(1)
    await fault({ type: 'outage', resource: 'swedencentral' })
    expect(await pending).toMatchObject({
      status: 'succeeded',
      decision: { region: 'eastus2', attempts: [{ code: 'model_unavailable' }, { status: 200 }] },
    })
  })

  it('leaves the tier only when all of it fails, and never region.only', async () => {
    start()
    await failing('nano', 'swedencentral', 500)
    await failing('mini', 'eastus2', 500)
    const options = { region: { only: ['swedencentral'] } }
    expect(await run(chat('hi'), { options })).toMatchObject({ status: 'succeeded', decision: { tier: 'large' } })
    expect(await called()).toEqual(['nano-swedencentral 500', 'big-swedencentral 200'])
    await failing('big', 'swedencentral', 503)
    expect(await run(chat('hi'), { options })).toMatchObject({ kind: 'later', reason: 'failing' })
  })

  it('waits when every deployment of a named model fails', async () => {
    start()
    await failing('nano', 'swedencentral', 500)
    await failing('nano', 'eastus2', 502)
    const outcome = await run(chat('hi', { model: 'small' }))
    expect(outcome).toMatchObject({
      kind: 'later',
      reason: 'failing',
      decision: { attempts: [{}, {}], deployment: null },
    })
    if (outcome.kind === 'later') expect(outcome.afterMs).toBeGreaterThanOrEqual(1_000)
    // One call each: nothing retries behind our back.
    expect(await called()).toHaveLength(2)
  })

  it('does not try again what would fail again', async () => {
    start()
    const outcome = await run(chat('my secret [content_filter=violence]'))
    expect(outcome).toMatchObject({
      kind: 'done',
      status: 'failed',
      response: null,
      error: { code: 'content_policy' },
      decision: { attempts: [{ status: 400, code: 'content_policy' }] },
      costUsd: 0,
    })
    expect(JSON.stringify([outcome, lines])).not.toContain('secret')
    expect(await called()).toHaveLength(1)
    const rejected = await run(chat('hi', { temperature: 7 }))
    expect(rejected).toMatchObject({ status: 'failed', error: { code: 'model_rejected', param: 'body.temperature' } })
  })
})

describe('no room', () => {
  it('is told with the shortest wait when every deployment answers 429', async () => {
    start()
    await failing('nano', 'swedencentral', 429, { retry_after_ms: 9_000 })
    await failing('nano', 'eastus2', 429, { retry_after_ms: 4_000 })
    const outcome = await run(chat('hi'))
    expect(outcome).toMatchObject({ kind: 'later', reason: 'full', afterMs: 4_000, decision: { attempts: [{}, {}] } })
  })

  it('is told without a call when the quotas are spent', async () => {
    start((deployment) => ({ ...deployment, quota: { ...quota, tokens_per_minute: 20_000 } }))
    const body = chat('hi', { max_tokens: 12_000 })
    expect(await run(body)).toMatchObject({ decision: { deployment: 'nano-swedencentral' } })
    expect(await run(body)).toMatchObject({ decision: { deployment: 'nano-eastus2' } })
    const outcome = await run(body)
    expect(outcome).toMatchObject({ kind: 'later', reason: 'full', decision: { tier: 'small', attempts: [] } })
    if (outcome.kind === 'later') expect(outcome.afterMs).toBeGreaterThan(55_000)
    expect(await called()).toHaveLength(2)
  })

  it('will never be: a request beyond every quota fails and names the field', async () => {
    start()
    const limits = [
      [{ max_tokens: 100_001 }, 'body.max_tokens'],
      [{ max_completion_tokens: 100_001 }, 'body.max_completion_tokens'],
    ] as const
    for (const [more, param] of limits) {
      expect(await run(chat('hi', more))).toMatchObject({ status: 'failed', error: { code: 'no_route', param } })
    }
    expect(await run(chat('x'.repeat(401_000)))).toMatchObject({ error: { code: 'no_route', param: 'body.messages' } })
    expect(await called()).toEqual([])
  })

  it('moves a request to another tier when only that one can ever hold it', async () => {
    start((deployment) =>
      deployment.tier === 'small' ? { ...deployment, quota: { ...quota, tokens_per_minute: 10 } } : deployment,
    )
    expect(await run(chat('hi', { max_tokens: 50 }))).toMatchObject({ decision: { deployment: 'mini-eastus2' } })
  })
})

describe('the end of the road', () => {
  it('is a failed result for what cannot be routed', async () => {
    start()
    expect(await run(chat('hi', { model: 'gpt-99' }))).toMatchObject({
      kind: 'done',
      status: 'failed',
      error: { code: 'model_not_found', param: 'body.model' },
      decision: { attempts: [], score: null },
    })
    const nowhere = await run(chat('hi'), { options: { region: { only: ['westus'] } } })
    expect(nowhere).toMatchObject({ status: 'failed', error: { code: 'no_route', param: 'sluice.region.only' } })
  })

  it('comes with the deadline: no call after it, and a call in flight is not waited for', async () => {
    start()
    const past = { deadline: new Date(Date.now() - 1).toISOString() }
    expect(await run(chat('hi'), { options: past })).toMatchObject({ error: { code: 'deadline_exceeded' } })
    expect(await called()).toEqual([])
    await fault({ type: 'hang' })
    const outcome = await run(chat('hi'), { deadline: Date.now() + 100 })
    expect(outcome).toMatchObject({
      status: 'failed',
      error: { code: 'deadline_exceeded' },
      decision: { attempts: [{ status: 0 }] },
    })
    expect(await called()).toHaveLength(1)
  })

  it('comes with an abort, whose reason is what is thrown', async () => {
    start()
    await fault({ type: 'hang' })
    const reason = new AppError('cancelled', 'The caller changed his mind.')
    const controller = new AbortController()
    const pending = run(chat('hi'), { signal: controller.signal })
    await expect.poll(async () => (await twin.calls()).length, { timeout: 10_000 }).toBe(1)
    controller.abort(reason)
    await expect(pending).rejects.toBe(reason)
    await expect(run(chat('hi'), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    await expect
      .poll(async () => (await twin.calls()).map(({ outcome }) => outcome), { timeout: 10_000 })
      .toEqual(['aborted'])
  })
})
