import OpenAI from 'openai'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { deploymentOn, type ModelTwin } from './model-twin.ts'
import {
  type Door,
  type DoorFixture,
  doorKey,
  type DoorOptions,
  fabrikamKey,
  RawClient,
  startDoorFixture,
  startOddUpstream,
  until,
} from './openai-door-fixture.ts'

let fixture: DoorFixture
let door: Door | undefined
beforeAll(async () => {
  fixture = await startDoorFixture()
})
afterAll(() => fixture.close())
beforeEach(async () => {
  await fixture.twin.reset()
  await ability('small', 0)
  await ability('gpt', 1)
})
afterEach(async () => {
  await door?.close()
  door = undefined
})

const ability = (deployment: string, value: number) =>
  fixture.twin.post('deployments', { resource: 'swedencentral', deployment, settings: { ability: value } })

const tiers = (twin: ModelTwin) => [
  deploymentOn(twin, 'weak', {
    azure_name: 'small',
    model: 'gpt-4.1-mini',
    tier: 'small',
    price: { input: 0.4, output: 1.6 },
  }),
  deploymentOn(twin, 'strong', { azure_name: 'gpt', tier: 'large', price: { input: 2, output: 8 } }),
]

async function openDoor(options: DoorOptions = {}): Promise<Door> {
  const cascade = { enabled: true, from_score: 0, to_score: 1 }
  door = await fixture.open({ deployments: tiers, cascade, ...options })
  return door
}

const clientOf = (door: Door) => new OpenAI({ apiKey: doorKey, baseURL: `${door.url}/v1`, maxRetries: 0 })
// Between the thresholds: the small tier answers first, with the large one above it.
const middling = 'Write a SQL query that returns, per customer, the month with the highest revenue, and explain it.'
const auto = (content = middling, more: object = {}) => ({
  model: 'auto',
  messages: [{ role: 'user' as const, content }],
  ...more,
})
const called = async () => (await fixture.twin.calls()).map(({ deployment }) => deployment)
const metricsOf = async (door: Door) => (await door.metrics.render()).text

describe('a synchronous call of a tenant with cascades', () => {
  it('escalates an answer that is not trusted, and counts what was wasted', async () => {
    const door = await openDoor({ shares: [{ name: 'contoso', requestsPerMinute: 100 }] })
    const { data, response } = await clientOf(door).chat.completions.create(auto()).withResponse()
    expect(await called()).toEqual(['small', 'gpt'])
    expect(data.choices[0]?.message.content).toBeTruthy()
    expect(data.choices[0]?.logprobs ?? null).toBeNull()
    expect(response.headers.get('x-sluice-deployment')).toBe('strong')
    expect(response.headers.get('x-sluice-tier')).toBe('large')
    expect(response.headers.get('x-sluice-score')).toMatch(/^0\.\d{3}$/)
    expect(response.headers.get('x-ratelimit-limit-requests')).toBe('100')
    // Both calls are the tenant's.
    expect(response.headers.get('x-ratelimit-remaining-requests')).toBe('98')
    const text = await metricsOf(door)
    expect(text).toMatch(/sluice_execution_cascades_total\{outcome="escalated",[^}]*\} 1/)
    expect(Number(/sluice_execution_wasted_usd_total\{[^}]*\} (\S+)/.exec(text)?.[1])).toBeGreaterThan(0)
  })

  it('is answered by the lower tier when that is trusted', async () => {
    const door = await openDoor()
    await ability('small', 1)
    const { data, response } = await clientOf(door).chat.completions.create(auto()).withResponse()
    expect(await called()).toEqual(['small'])
    expect(response.headers.get('x-sluice-deployment')).toBe('weak')
    // What only the judge asked for is not the caller's.
    expect(data.choices[0]?.logprobs).toBeNull()
    expect(await metricsOf(door)).toMatch(/sluice_execution_cascades_total\{outcome="trusted",[^}]*\} 1/)
  })

  it('cascades with the Responses API, and keeps Sluice’s own fields from the provider', async () => {
    const door = await openDoor()
    const asked = { model: 'auto', input: middling, sluice: { priority: 'interactive' } }
    const response = await clientOf(door).responses.create(asked)
    expect(response.output_text).toBeTruthy()
    expect(response.status).toBe('completed')
    expect((await called()).at(0)).toBe('small')
  })

  it.each<[string, object, DoorOptions]>([
    ['streams', { stream: true }, {}],
    ['names its model', { model: 'large' }, {}],
    ['asks for several choices', { n: 2 }, {}],
    ['comes from a tenant without them', {}, { tenants: { contoso: { cascade: false } } }],
    ['has a score outside the band', {}, { cascade: { enabled: true, from_score: 0.99, to_score: 1 } }],
    ['has too little time', {}, { cascade: { enabled: true, from_score: 0, to_score: 1, min_slack_ms: 3_600_000 } }],
  ])('does not cascade when it %s', async (_name, more, options) => {
    const door = await openDoor(options)
    const headers = { 'x-sluice-deadline': new Date(Date.now() + 600_000).toISOString() }
    await clientOf(door).chat.completions.create(auto(middling, more), { headers }).asResponse()
    expect(await called()).toHaveLength(1)
    expect(await metricsOf(door)).not.toMatch(/sluice_execution_cascades_total\{/)
  })

  it('gives up its calls when the caller leaves, and the budget keeps what they cost', async () => {
    const door = await openDoor({ tenants: { fabrikam: { budget: { day_usd: 1 } } } })
    await fixture.twin.post('faults', { type: 'hang', ms: 60_000, deployment: 'gpt' })
    const client = new RawClient(door.port).post('/v1/chat/completions', JSON.stringify(auto()), {
      authorization: `Bearer ${fabrikamKey}`,
    })
    const paid = /sluice_model_cost_usd_total\{deployment="weak"/
    await until(async () => paid.test(await metricsOf(door)), 'the lower tier has answered')
    expect(door.forwarder.inFlight).toBe(1)
    client.socket.destroy()
    await until(() => door.forwarder.inFlight === 0, 'it is given up')
    const line = () => door.log.find((one) => one.includes('"outcome":"aborted"'))
    await until(() => line() !== undefined, 'it is logged')
    const { costUsd } = JSON.parse(line() ?? '{}') as { costUsd: number }
    expect(costUsd).toBeGreaterThan(0)
    await until(async () => (await door.budgets.spend('fabrikam')).dayUsd > 0, 'it is charged')
    const { dayUsd, heldUsd } = await door.budgets.spend('fabrikam')
    expect(dayUsd).toBeCloseTo(costUsd, 8)
    expect(heldUsd).toBe(0)
  })

  it('is answered with the provider’s own bytes', async () => {
    const choice = '{"index":0, "message":{"role":"assistant","content":"4\\u0032"}, "finish_reason":"stop"}'
    const bytes = `{ "id":"x","object":"chat.completion","model":"m","seed":12345678901234567890,\n "choices":[${choice}] }`
    const upstream = await startOddUpstream((request, response) => {
      request.resume()
      response.writeHead(200, { 'content-type': 'application/json' }).end(bytes)
    })
    try {
      const door = await openDoor({
        deployments: (twin) =>
          tiers(twin).map((one) => (one.tier === 'large' ? { ...one, endpoint: upstream.endpoint } : one)),
      })
      const answer = await fetch(`${door.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${doorKey}` },
        body: JSON.stringify(auto()),
      })
      expect(answer.headers.get('x-sluice-deployment')).toBe('strong')
      expect(await answer.text()).toBe(bytes)
    } finally {
      await door?.close()
      door = undefined
      await upstream.close()
    }
  })

  it('takes the answer that it has when the higher tier fails', async () => {
    const door = await openDoor()
    await fixture.twin.post('faults', { type: 'status', status: 500, deployment: 'gpt' })
    const { response } = await clientOf(door).chat.completions.create(auto()).withResponse()
    expect(response.headers.get('x-sluice-deployment')).toBe('weak')
  })

  it('ends with an honest error when every tier fails', async () => {
    const door = await openDoor()
    for (const deployment of ['small', 'gpt']) {
      await fixture.twin.post('faults', { type: 'status', status: 500, deployment })
    }
    const failed = clientOf(door).chat.completions.create(auto())
    await expect(failed).rejects.toMatchObject({ status: 503, code: 'model_unavailable' })
    expect(await called()).toEqual(['small', 'gpt'])
  })

  it('passes on what a provider has against the request', async () => {
    const door = await openDoor()
    const failed = clientOf(door).chat.completions.create(auto(middling, { temperature: 9 }))
    await expect(failed).rejects.toMatchObject({ status: 400, param: 'temperature' })
    expect(await called()).toHaveLength(1)
  })

  it('waits for room like every other call, and says for how long there is none', async () => {
    const quota = { tokens_per_minute: 1_000, requests_per_minute: 600 }
    const full = (twin: ModelTwin) => tiers(twin).map((one) => ({ ...one, name: `${one.name}-and-full`, quota }))
    const door = await openDoor({ deployments: full, waitMs: 0 })
    const client = clientOf(door)
    await client.chat.completions.create(auto(middling, { max_tokens: 900 }))
    const failed = client.chat.completions.create(auto(middling, { max_tokens: 900 }))
    await expect(failed).rejects.toMatchObject({ status: 429, code: 'no_capacity' })
  })

  it('fills the cache with the answer that won', async () => {
    const door = await openDoor()
    const ask = () =>
      clientOf(door)
        .chat.completions.create(auto(`${middling} [cache]`), { headers: { 'x-sluice-cache': 'exact' } })
        .withResponse()
    const first = await ask()
    let again = await ask()
    await until(async () => {
      if (again.response.headers.get('x-sluice-cache') === 'hit') return true
      again = await ask()
      return false
    }, 'it is cached')
    expect(again.data).toEqual(first.data)
  })

  it('is given up when the server stops', async () => {
    const door = await openDoor()
    await fixture.twin.post('faults', { type: 'hang', ms: 60_000 })
    const failed = clientOf(door).chat.completions.create(auto())
    const outcome = expect(failed).rejects.toMatchObject({ status: 503, code: 'shutting_down' })
    await until(() => door.forwarder.inFlight === 1, 'it is under way')
    door.forwarder.interrupt()
    await outcome
  })
})
