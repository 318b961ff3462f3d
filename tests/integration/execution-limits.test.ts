import type { AnswerCache, CachedAnswer } from '@sluice/cache'
import { type Budgets, quotaOf } from '@sluice/admission'
import type { Deployment } from '@sluice/contracts'
import { createEmbedText } from '@sluice/execution'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { at, chat, type ExecutionBench, type Running, type Setup, startExecutionBench } from './execution-fixture.ts'

let bench: ExecutionBench
let running: Running | undefined
beforeAll(async () => {
  const resources = ['swedencentral', 'eastus2'].map((name) => ({
    name,
    deployments: [
      { name: 'nano', model: 'phi', context_tokens: 300 },
      { name: 'mini', model: 'gpt-4.1-mini' },
      { name: 'big', model: 'gpt-4.1' },
      { name: 'router', model: 'model-router', kind: 'model-router' as const, routes_to: ['gpt-4.1-nano', 'gpt-4.1'] },
      { name: 'thinker', model: 'o4-mini' },
      { name: 'embed', model: 'text-embedding-3-small' },
    ],
  }))
  bench = await startExecutionBench({ resources })
})
afterAll(() => bench.close())
afterEach(async () => {
  await running?.close()
  running = undefined
})

async function start(deployments: readonly Deployment[], more: Partial<Setup> = {}): Promise<Running> {
  running = await bench.start({ deployments, ...more })
  return running
}
const on = (name: string, resource: string, fields: Partial<Deployment> = {}) => at(bench.twin, name, resource, fields)
const called = async () => (await bench.twin.calls()).map(({ deployment, resource }) => `${deployment}-${resource}`)

describe('a prompt that is too long', () => {
  it('goes to a deployment with a larger context of the same or a higher tier', async () => {
    const { done } = await start([
      // The configuration promises more than the deployment holds.
      on('nano', 'swedencentral', { tier: 'small', context_tokens: 8_000 }),
      on('mini', 'eastus2', { tier: 'medium', context_tokens: 128_000 }),
    ])
    const outcome = await done(chat(`Good morning ${'word '.repeat(600)}`), { options: { tier: { min: 'small' } } })
    expect(outcome.status).toBe('succeeded')
    expect(outcome.decision.deployment).toBe('mini-eastus2')
    expect(outcome.decision.attempts).toMatchObject([{ status: 400, code: 'context_length_exceeded' }, { status: 200 }])
  })

  it('fails when the hints leave nothing larger', async () => {
    const { done } = await start([
      on('nano', 'swedencentral', { tier: 'small', context_tokens: 8_000 }),
      on('mini', 'eastus2', { tier: 'medium' }),
    ])
    const long = chat(`Good morning ${'word '.repeat(600)}`)
    expect(await done(long, { options: { tier: { max: 'small' } } })).toMatchObject({
      status: 'failed',
      error: { code: 'context_length_exceeded' },
    })
    expect(await done({ ...long, model: 'm-nano' })).toMatchObject({ error: { code: 'context_length_exceeded' } })
  })
})

describe('max_cost_usd', () => {
  const deployments = () => [
    on('mini', 'swedencentral', { tier: 'small', price: { input: 0.1, output: 0.4 } }),
    on('big', 'swedencentral', { tier: 'large', price: { input: 2, output: 8 } }),
  ]

  it('limits the answer to what it pays for', async () => {
    const { done } = await start(deployments())
    const outcome = await done(chat('Say something [tokens=2000]', { model: 'm-big' }), {
      options: { max_cost_usd: 0.004 },
    })
    expect(outcome.usage.output_tokens).toBeGreaterThan(400)
    expect(outcome.costUsd).toBeLessThanOrEqual(0.004)
    expect(outcome.response?.body).toMatchObject({ choices: [{ finish_reason: 'length' }] })
  })

  it('takes a cheaper tier rather than nothing, and fails by name when nothing fits', async () => {
    const { done } = await start(deployments())
    const hard = chat('Prove by induction and derive the closed form of the sum, then implement and test it.', {
      max_tokens: 1_000,
    })
    const cheap = await done(hard, { options: { max_cost_usd: 0.001 } })
    expect(cheap.decision).toMatchObject({ deployment: 'mini-swedencentral' })
    expect(await done(hard, { options: { max_cost_usd: 0.0001 } })).toMatchObject({
      status: 'failed',
      error: { code: 'cost_limit', param: 'sluice.max_cost_usd' },
      decision: { attempts: [] },
    })
  })
})

describe('prices', () => {
  it('of a model-router follow the model that the answer names', async () => {
    const { done } = await start([on('router', 'swedencentral', { kind: 'model-router', tier: 'medium' })], {
      prices: { 'gpt-4.1-nano': { input: 0.1, output: 0.4 }, 'gpt-4.1': { input: 2, output: 8 } },
    })
    for (const [difficulty, model, input, output] of [
      [0.1, 'gpt-4.1-nano', 0.1, 0.4],
      [0.9, 'gpt-4.1', 2, 8],
    ] as const) {
      const outcome = await done(chat(`Tell me [difficulty=${difficulty}]`, { model: 'medium' }))
      expect(outcome.decision.model).toMatch(new RegExp(`^${model}-\\d{4}|^${model}$`))
      const { usage } = outcome
      expect(outcome.costUsd).toBeCloseTo((usage.input_tokens * input + usage.output_tokens * output) / 1e6, 12)
    }
  })

  it('of reasoning are their own', async () => {
    const { done } = await start([on('thinker', 'swedencentral', { price: { input: 1, output: 2, reasoning: 20 } })])
    const { usage, costUsd } = await done(chat('Think', { model: 'm-thinker' }))
    expect(usage.reasoning_tokens).toBeGreaterThan(0)
    const { input_tokens: input, output_tokens: output, reasoning_tokens: reasoning } = usage
    expect(costUsd).toBeCloseTo((input + (output - reasoning) * 2 + reasoning * 20) / 1e6, 12)
  })

  it('of a tenant that is sold to make its margin', async () => {
    const { done, metrics } = await start([on('mini', 'swedencentral', { price: { input: 1, output: 1 } })], {
      tenants: { contoso: { prices: { '*': { input: 3, output: 3 } } } },
    })
    const { costUsd } = await done(chat('hi', { model: 'm-mini' }))
    await done(chat('hi', { model: 'm-mini' }), { tenant: 'fabrikam' })
    const { text } = await metrics.render()
    const margins = [...text.matchAll(/sluice_tenant_margin_usd\{tenant="(\w+)",service="test"\} (\S+)/g)]
    expect(margins.map(([, tenant]) => tenant)).toEqual(['contoso'])
    expect(Number(margins[0]?.[2])).toBeCloseTo(2 * costUsd, 10)
  })
})

describe('a budget', () => {
  function ledger(left: number) {
    const log: string[] = []
    const budgets: Budgets = {
      async reserve({ estimateUsd }) {
        if (estimateUsd > left) return { kind: 'refused', period: 'day', resetsInMs: 60_000 }
        log.push('held')
        return {
          kind: 'held',
          hold: { commit: (usd) => void log.push(`paid ${usd}`), release: () => void log.push('released') },
        }
      },
      spend: async () => ({ dayUsd: 0, monthUsd: 0, heldUsd: 0 }),
      close: async () => undefined,
    }
    return { budgets, log }
  }
  const tenants = { contoso: { budget: { day_usd: 1 } } }

  it('is held before the call and charged what it cost', async () => {
    const { budgets, log } = ledger(1)
    const { done } = await start([on('mini', 'swedencentral')], { budgets, tenants })
    const { costUsd } = await done(chat('hi', { model: 'm-mini' }))
    expect(log).toEqual(['held', `paid ${costUsd}`])
  })

  it('is given back when nothing came of it, also by an abort', async () => {
    const { budgets, log } = ledger(1)
    const { done, run } = await start([on('mini', 'swedencentral')], { budgets, tenants })
    expect(await done(chat('[content_filter=hate]', { model: 'm-mini' }))).toMatchObject({ status: 'failed' })
    await bench.twin.post('faults', { type: 'hang' })
    const controller = new AbortController()
    const pending = run(chat('hi', { model: 'm-mini' }), { signal: controller.signal })
    await expect.poll(async () => (await bench.twin.calls()).length, { timeout: 10_000 }).toBe(2)
    controller.abort(new Error('gone'))
    await expect(pending).rejects.toThrow('gone')
    expect(log).toEqual(['held', 'released', 'held', 'released'])
  })

  it('that is spent refuses without a call, and leaves others alone', async () => {
    const { budgets } = ledger(0)
    const { done } = await start([on('mini', 'swedencentral')], { budgets, tenants })
    expect(await done(chat('hi', { model: 'm-mini' }))).toMatchObject({ error: { code: 'budget_exceeded' } })
    expect(await called()).toEqual([])
    expect(await done(chat('hi', { model: 'm-mini' }), { tenant: 'fabrikam' })).toMatchObject({ status: 'succeeded' })
  })
})

describe('the cache', () => {
  function memory() {
    const kept = new Map<string, CachedAnswer>()
    const keyOf = (ask: { tenant: string; body: unknown }) => `${ask.tenant} ${JSON.stringify(ask.body)}`
    const cache: AnswerCache = {
      async lookup(ask) {
        const answer = kept.get(keyOf(ask))
        return answer && { answer, similarity: 1 }
      },
      store: (ask, _mode, answer) => void kept.set(keyOf(ask), answer),
      close: async () => undefined,
    }
    return { cache, kept }
  }
  const options = { cache: 'exact' as const }

  it('answers the second time, at no cost, and only the tenant that asked', async () => {
    const { cache } = memory()
    const { done } = await start([on('mini', 'swedencentral', { tier: 'small' })], { cache })
    const first = await done(chat('hi'), { options })
    const second = await done(chat('hi'), { options })
    expect(first.decision.cache).toBe('miss')
    expect(second).toMatchObject({
      costUsd: 0,
      decision: { cache: 'hit', deployment: 'mini-swedencentral', attempts: [] },
    })
    expect(second.response?.body).toEqual(first.response?.body)
    expect((await done(chat('hi'), { options, tenant: 'fabrikam' })).decision.cache).toBe('miss')
    expect(await called()).toHaveLength(2)
  })

  it('is left alone by requests that do not ask for it', async () => {
    const { cache, kept } = memory()
    const { done } = await start([on('mini', 'swedencentral', { tier: 'small' })], { cache })
    expect((await done(chat('hi'))).decision.cache).toBe('off')
    expect(kept.size).toBe(0)
  })

  it('replays a hit as a stream to whoever listens', async () => {
    const { cache } = memory()
    const { done } = await start([on('mini', 'swedencentral', { tier: 'small' })], { cache })
    const body = chat('Tell me a story', { stream: true })
    const { response } = await done(body, { options })
    const events: unknown[] = []
    const hit = await done(body, { options, onDelta: (event) => void events.push(event) })
    expect(hit.decision.cache).toBe('hit')
    const text = (events as { choices: { delta: { content?: string } }[] }[])
      .map(({ choices }) => choices[0]?.delta.content ?? '')
      .join('')
    expect(response?.body).toMatchObject({ choices: [{ message: { content: text } }] })
  })
})

describe('embedding a text for the cache', () => {
  it('is a run like any other', async () => {
    const { execution } = await start([on('embed', 'swedencentral', { urls: ['/v1/embeddings'], model: 'e' })])
    const embed = createEmbedText({ execution: () => execution, model: 'e' })
    const vector = await embed('hello', 'contoso', AbortSignal.timeout(10_000))
    expect(vector.length).toBeGreaterThan(100)
    expect(vector).toEqual(await embed('hello', 'contoso', AbortSignal.timeout(10_000)))
    await bench.twin.post('faults', { type: 'status', status: 500 })
    await expect(embed('hello', 'contoso', AbortSignal.timeout(10_000))).rejects.toMatchObject({ code: 'no_capacity' })
  })
})

describe('a conversation', () => {
  const deployments = () => [on('mini', 'swedencentral', { tier: 'small' }), on('mini', 'eastus2', { tier: 'small' })]

  it('keeps its region, which is a preference and each tenant’s own', async () => {
    const { done } = await start(deployments())
    const options = { conversation: 'conv-1' }
    await done(chat('hi'), { options: { ...options, region: { only: ['eastus2'] } } })
    for (let turn = 0; turn < 4; turn++) await done(chat(`turn ${turn}`), { options })
    expect(new Set(await called())).toEqual(new Set(['mini-eastus2']))
    const [ttl] = await Promise.all(
      (await bench.redis.client.keys('sluice:affinity:*')).map((key) => bench.redis.client.ttl(key)),
    )
    expect(ttl).toBeGreaterThan(23 * 3600)
    await bench.twin.post('faults', { type: 'status', status: 503, resource: 'eastus2' })
    expect((await done(chat('on'), { options })).decision.region).toBe('swedencentral')
    expect(await bench.redis.client.get('sluice:affinity:contoso|conv-1')).toBe('swedencentral')
    expect(await bench.redis.client.get('sluice:affinity:fabrikam|conv-1')).toBeNull()
  })

  it('costs others no look-up', async () => {
    const { done } = await start(deployments())
    await done(chat('hi'))
    expect(await bench.redis.client.keys('sluice:affinity:*')).toEqual([])
  })
})

describe('a deployment that is out of service', () => {
  it('is passed over for another tier, where the request may use one', async () => {
    const { run, done, admission } = await start([
      on('nano', 'swedencentral', { tier: 'small' }),
      on('mini', 'eastus2', { tier: 'medium' }),
    ])
    await admission.drain('nano-swedencentral', { reason: 'test' })
    expect((await done(chat('hi'))).decision).toMatchObject({ deployment: 'mini-eastus2', attempts: [{ status: 200 }] })
    expect(await run(chat('hi', { model: 'small' }))).toMatchObject({ kind: 'later', reason: 'failing' })
    await admission.undrain('nano-swedencentral')
    expect((await done(chat('hi', { model: 'small' }))).decision.deployment).toBe('nano-swedencentral')
  })
})

describe('a tenant’s limits', () => {
  it('make its own requests wait, and nobody else’s', async () => {
    const { run, done } = await start([on('mini', 'swedencentral', { tier: 'small' })], {
      tenants: { contoso: { limits: { tokens_per_minute: 500, concurrency: 1 } } },
    })
    await bench.twin.post('faults', { type: 'hang', count: 1 })
    const controller = new AbortController()
    const first = run(chat('hi'), { signal: controller.signal })
    await expect.poll(async () => (await bench.twin.calls()).length, { timeout: 10_000 }).toBe(1)
    expect(await run(chat('hi'))).toMatchObject({ kind: 'later', reason: 'tenant' })
    expect((await done(chat('hi'), { tenant: 'fabrikam' })).status).toBe('succeeded')
    controller.abort(new Error('gone'))
    await expect(first).rejects.toThrow('gone')
    const large = await done(chat('hi', { max_tokens: 600 }))
    expect(large).toMatchObject({ error: { code: 'no_route', param: 'body.max_tokens' } })
  })
})

describe('spilling', () => {
  const spilling = () => {
    const quota = { tokens_per_minute: 500, requests_per_minute: 600 }
    const ptu = on('mini', 'swedencentral', { tier: 'small', kind: 'ptu', quota })
    return { ptu, deployments: [ptu, on('mini', 'eastus2', { tier: 'small' })] }
  }
  const only = { routing: { spill: ['interactive'] } }

  it('is for the priorities that may; others wait for provisioned capacity', async () => {
    const { ptu, deployments } = spilling()
    const { run, done, admission } = await start(deployments, only)
    const taken = await admission.reserve({ candidates: [quotaOf(ptu)], tokens: 480 })
    if (taken.kind !== 'granted') throw new Error('expected room')
    const large = chat('hi', { max_tokens: 400 })
    expect(await run(large, { options: { priority: 'bulk' } })).toMatchObject({ kind: 'later', reason: 'full' })
    expect(await run(large, { priority: 'standard' })).toMatchObject({ kind: 'later' })
    expect((await done(large, { options: { priority: 'interactive' } })).decision.region).toBe('eastus2')
    taken.end({ outcome: 'aborted', ms: 0 })
  })

  it('is not failing over: provisioned capacity that fails is left by everybody', async () => {
    const { done } = await start(spilling().deployments, only)
    const bulk = { options: { priority: 'bulk' as const } }
    expect((await done(chat('hi'), bulk)).decision.region).toBe('swedencentral')
    await bench.twin.post('faults', { type: 'status', status: 503, resource: 'swedencentral' })
    expect((await done(chat('hi'), bulk)).decision.region).toBe('eastus2')
  })
})

describe('a stream', () => {
  const deployments = () => [on('mini', 'swedencentral', { tier: 'small' }), on('mini', 'eastus2', { tier: 'small' })]
  const listening = () => {
    const events: { choices?: { delta?: { content?: string } }[] }[] = []
    const text = () => events.map(({ choices }) => choices?.[0]?.delta?.content ?? '').join('')
    return { onDelta: (event: unknown) => void events.push(event as (typeof events)[number]), events, text }
  }

  it('is handed on while it comes and put together at the end, usage included', async () => {
    const { done } = await start(deployments())
    const { onDelta, text, events } = listening()
    const outcome = await done(chat('Tell me a story', { stream: true }), { onDelta })
    expect(events.length).toBeGreaterThan(3)
    expect(outcome.response?.body).toMatchObject({
      object: 'chat.completion',
      choices: [{ index: 0, message: { role: 'assistant', content: text() }, finish_reason: 'stop' }],
    })
    expect(outcome.usage.output_tokens).toBeGreaterThan(0)
    const whole = await done(chat('Tell me a story'))
    expect(whole.response?.body).toMatchObject({ choices: [{ message: { content: text() } }] })
    expect(outcome.usage).toMatchObject({ output_tokens: whole.usage.output_tokens })
  })

  it('of tool calls is put together, too', async () => {
    const { done } = await start(deployments())
    const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
    const tools = [
      { type: 'function', function: { name: 'get_weather', description: 'weather in a city', parameters } },
    ]
    const body = chat('What is the weather in the city of Uppsala?', { tools, stream: true, tool_choice: 'required' })
    const streamed = await done(body, listening())
    type Message = { tool_calls: { function: object; type: string }[] }
    const message = ({ response }: typeof streamed) =>
      (response as { body: { choices: { message: Message }[] } }).body.choices[0]?.message
    const whole = await done({ ...body, stream: false })
    expect(message(streamed)?.tool_calls.map((call) => call.function)).toEqual(
      message(whole)?.tool_calls.map((call) => call.function),
    )
    expect(message(streamed)?.tool_calls).toMatchObject([{ type: 'function' }])
  })

  it('of a response ends with the whole response', async () => {
    const { done } = await start(deployments())
    const { onDelta, events } = listening()
    const body = { model: 'auto', input: 'Tell me a story', stream: true }
    const outcome = await done(body, { url: '/v1/responses', onDelta })
    expect(outcome.response?.body).toMatchObject({ object: 'response', status: 'completed' })
    expect(events.length).toBeGreaterThan(3)
    expect(outcome.usage.output_tokens).toBeGreaterThan(0)
  })

  it('fails over before its first output', async () => {
    const { done } = await start(deployments())
    await bench.twin.post('faults', { type: 'status', status: 500, resource: 'swedencentral' })
    await bench.twin.post('faults', { type: 'drop', at: 'stream', after_events: 1, resource: 'eastus2', count: 1 })
    const { onDelta, text } = listening()
    const first = await bench.twin.calls()
    const outcome = await running?.run(chat('Tell me a story', { stream: true }), { onDelta })
    expect(first).toEqual([])
    // The first event has no output: the stream that broke after it was nobody's.
    expect(outcome).toMatchObject({ kind: 'later', reason: 'failing' })
    expect(text()).toBe('')
    expect(await done(chat('hi', { stream: true }), listening())).toMatchObject({
      status: 'succeeded',
      decision: { region: 'eastus2' },
    })
  })

  it('that breaks after its first output ends as failed', async () => {
    const { done } = await start(deployments())
    await bench.twin.post('faults', { type: 'drop', at: 'stream', after_events: 8 })
    const { onDelta, text } = listening()
    const outcome = await done(chat('Tell me a long story [tokens=200]', { stream: true }), { onDelta })
    expect(text()).not.toBe('')
    expect(outcome).toMatchObject({
      status: 'failed',
      error: { code: 'model_unavailable' },
      decision: { attempts: [{}] },
    })
  })
})
