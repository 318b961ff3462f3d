import { type Budgets, quotaOf } from '@sluice/admission'
import { describe, expect, it } from 'vitest'
import { useExecutionBench } from './execution-bench.ts'
import { chat } from './execution-fixture.ts'

const bench = useExecutionBench()
const { start, on, called } = bench

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

describe('the limits of the key that submitted a request', () => {
  it('count as they do at the door, within its tenant’s, and for nobody else', async () => {
    const { run, admission } = await start([on('mini', 'swedencentral')], {
      tenants: { contoso: { limits: { requests_per_minute: 3 } } },
    })
    const asked = chat('hi', { model: 'm-mini' })
    const keyLimits = { principal: 'key-a', requests_per_minute: 1 }
    expect(await run(asked, { keyLimits })).toMatchObject({ kind: 'done' })
    expect(await run(asked, { keyLimits })).toMatchObject({ kind: 'later', reason: 'tenant' })
    const tenant = [{ name: 'contoso/key-a', requestsPerMinute: 1 }]
    const atTheDoor = await admission.reserve({ candidates: [quotaOf(on('mini', 'swedencentral'))], tokens: 1, tenant })
    expect(atTheDoor).toMatchObject({ kind: 'later', reason: 'tenant' })
    expect(await run(asked, { keyLimits: { ...keyLimits, principal: 'key-b' } })).toMatchObject({ kind: 'done' })
    expect(await run(asked, { keyLimits, tenant: 'fabrikam' })).toMatchObject({ kind: 'done' })
    expect(await run(asked)).toMatchObject({ kind: 'done' })
    expect(await run(asked)).toMatchObject({ kind: 'later', reason: 'tenant' })
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
      count: (tenant, usd) => void log.push(`${tenant} spent ${usd}`),
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

  it('that a tenant does not have is not held, and what it spends is counted', async () => {
    const { budgets, log } = ledger(0)
    const { done } = await start([on('mini', 'swedencentral')], { budgets, tenants })
    const { costUsd } = await done(chat('hi', { model: 'm-mini' }), { tenant: 'fabrikam' })
    expect(log).toEqual([`fabrikam spent ${costUsd}`])
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
