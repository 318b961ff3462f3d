import type { RequestBody } from '@sluice/contracts'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { at, chat, type ExecutionBench, type Running, startExecutionBench } from './execution-fixture.ts'

// A weak, a middling and a strong model, as wrong as their ability says.
let bench: ExecutionBench
let running: Running | undefined
beforeAll(async () => {
  const deployments = [
    { name: 'nano', model: 'phi', ability: 0 },
    { name: 'mini', model: 'gpt-4.1-mini', ability: 0 },
    { name: 'big', model: 'gpt-4.1', ability: 1 },
  ]
  bench = await startExecutionBench({ resources: [{ name: 'swedencentral', deployments }] })
})
afterAll(() => bench.close())
afterEach(async () => {
  await running?.close()
  running = undefined
})

async function start(cascade: object = {}, more: { tenants?: object } = {}): Promise<Running> {
  const { twin } = bench
  running = await bench.start({
    deployments: [
      at(twin, 'nano', 'swedencentral', { tier: 'small', price: { input: 0.1, output: 0.4 } }),
      at(twin, 'mini', 'swedencentral', { tier: 'medium', price: { input: 0.4, output: 1.6 } }),
      at(twin, 'big', 'swedencentral', { tier: 'large', price: { input: 2, output: 8 } }),
    ],
    routing: { cascade: { enabled: true, from_score: 0, to_score: 1, ...cascade } },
    ...more,
  })
  return running
}

const called = async () => (await bench.twin.calls()).map(({ deployment }) => deployment)
const ability = (deployment: string, value: number) =>
  bench.twin.post('deployments', { resource: 'swedencentral', deployment, settings: { ability: value } })
// Between the thresholds: medium is the scored tier, so that small answers first.
const middling = 'Write a SQL query that returns, per customer, the month with the highest revenue, and explain it.'

const choicesOf = ({ response }: { response: { body: unknown } | null }) =>
  (response as { body: { choices: { logprobs: unknown }[] } }).body.choices

describe('a cascade', () => {
  it('climbs while the answers are not trusted, and counts what it wasted', async () => {
    const { done } = await start()
    const outcome = await done(chat(middling))
    expect(await called()).toEqual(['nano', 'mini', 'big'])
    expect(outcome.decision).toMatchObject({ tier: 'large', escalated: true, attempts: [{}, {}, {}] })
    const confidences = outcome.decision.attempts.map(({ confidence }) => confidence)
    expect(confidences[0]).toBeLessThan(0.6)
    expect(confidences[1]).toBeLessThan(0.6)
    expect(confidences[2]).toBeUndefined()
    expect(outcome.decision.why).toContain('not enough confidence in small')
    expect(outcome.wasteUsd).toBeGreaterThan(0)
    const calls = (await bench.twin.calls()) as unknown as { prompt_tokens: number; completion_tokens: number }[]
    const prices = [[0.1, 0.4], [0.4, 1.6], [2, 8]] as const // prettier-ignore
    const costs = calls.map(({ prompt_tokens: input, completion_tokens: output }, index) => {
      const [inputPrice, outputPrice] = prices[index] ?? [0, 0]
      return (input * inputPrice + output * outputPrice) / 1e6
    })
    expect(outcome.costUsd).toBeCloseTo(
      costs.reduce((sum, cost) => sum + cost, 0),
      12,
    )
    expect(outcome.wasteUsd).toBeCloseTo((costs[0] ?? 0) + (costs[1] ?? 0), 12)
    expect(outcome.usage.output_tokens).toBe(calls.reduce((sum, call) => sum + call.completion_tokens, 0))
    const { text } = (await running?.metrics.render()) ?? { text: '' }
    expect(text).toContain('sluice_execution_cascades_total{outcome="escalated",service="test"} 1')
    expect(text).toMatch(/sluice_execution_wasted_usd_total\{service="test"\} [\d.e-]+/)
  })

  it('stops at the first answer that is trusted, and hands it on without the log probabilities it asked for', async () => {
    const { done } = await start()
    await ability('nano', 1)
    const outcome = await done(chat(middling))
    expect(await called()).toEqual(['nano'])
    expect(outcome).toMatchObject({ wasteUsd: 0, decision: { tier: 'small', escalated: false } })
    expect(outcome.decision.attempts[0]?.confidence).toBeGreaterThanOrEqual(0.6)
    const choices = choicesOf(outcome)
    expect(choices.map(({ logprobs }) => logprobs)).toEqual([null])
  })

  it('leaves the log probabilities to a caller who asked for them', async () => {
    const { done } = await start()
    await ability('nano', 1)
    const outcome = await done(chat(middling, { logprobs: true }))
    const choices = choicesOf(outcome)
    expect(choices[0]?.logprobs).toMatchObject({ content: expect.any(Array) as unknown })
  })

  it('passes over a tier that cannot answer, without waiting for it', async () => {
    const { done } = await start()
    await ability('mini', 1)
    await bench.twin.post('faults', { type: 'status', status: 500, deployment: 'nano' })
    const outcome = await done(chat(middling))
    expect(outcome.decision).toMatchObject({
      tier: 'medium',
      escalated: false,
      attempts: [{ status: 500 }, { status: 200 }],
    })
  })

  it('takes the answer that it has when nobody above can give another', async () => {
    const { done } = await start()
    for (const deployment of ['mini', 'big']) {
      await bench.twin.post('faults', { type: 'status', status: 503, deployment })
    }
    const outcome = await done(chat(middling))
    expect(outcome).toMatchObject({ status: 'succeeded', decision: { tier: 'small', escalated: false } })
    expect(outcome.decision.why).toContain('no higher tier could answer')
  })

  it('escalates a refusal, an answer that breaks its schema, and one that was cut', async () => {
    const { done } = await start()
    await ability('nano', 1)
    const refused = await done(chat(`${middling} [refuse]`))
    expect(refused.decision.attempts[0]?.confidence).toBe(0.05)
    expect(refused.decision.why).toContain('a refusal')
    const cut = await done(chat(`${middling} [tokens=50]`, { max_tokens: 20 }))
    expect(cut.decision.why).toContain('cut at its maximum length')
  })

  it('is the tenant’s own choice, too', async () => {
    const { done } = await start({}, { tenants: { contoso: { cascade: false } } })
    const outcome = await done(chat(middling))
    expect(outcome.decision).toMatchObject({ tier: 'medium', attempts: [{}] })
    expect((await done(chat(middling), { tenant: 'fabrikam' })).decision.attempts).toHaveLength(3)
  })

  it.each<[string, RequestBody, object]>([
    ['a model that was named', chat(middling, { model: 'medium' }), {}],
    ['several choices', chat(middling, { n: 2 }), {}],
    ['a stream', chat(middling, { stream: true }), { onDelta: () => undefined }],
  ])('does not happen for %s', async (_name, body, more) => {
    const { done } = await start()
    const outcome = await done(body, more)
    expect(outcome.decision.attempts).toHaveLength(1)
    expect(outcome.decision.attempts[0]?.confidence).toBeUndefined()
  })

  it('does not happen with a deadline that is near', async () => {
    const { done } = await start({ min_slack_ms: 3_600_000 })
    const near = { deadline: Date.now() + 1_800_000 }
    expect((await done(chat(middling), near)).decision.attempts).toHaveLength(1)
    expect((await done(chat(middling))).decision.attempts).toHaveLength(3)
  })

  it('does not happen outside its band of scores', async () => {
    const { done } = await start({ from_score: 0.9 })
    expect((await done(chat(middling))).decision.attempts).toHaveLength(1)
  })

  it('does not spend more than the request may cost', async () => {
    const { done } = await start()
    const outcome = await done(chat(middling, { max_completion_tokens: 300 }), { options: { max_cost_usd: 0.0008 } })
    // 300 tokens of the large tier would be 0.0024: only small and medium fit.
    expect(await called()).not.toContain('big')
    expect(outcome.status).toBe('succeeded')
    expect(outcome.costUsd).toBeLessThanOrEqual(0.0008)
  })

  it('asks a second time where that may settle it', async () => {
    const { done } = await start({ agreement: true, confidence: 0.95 })
    await ability('nano', 1)
    // The twin says the same twice, with a confidence between 0.7 and 0.95.
    const outcome = await done(chat(`${middling} [answer=42]`))
    expect(await called()).toEqual(['nano', 'nano'])
    expect(outcome.decision.why).toContain('two samples that agree')
    expect(outcome.wasteUsd).toBeGreaterThan(0)
    expect(outcome.decision.tier).toBe('small')
  })
})
