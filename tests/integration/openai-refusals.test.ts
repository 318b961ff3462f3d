import { AppError } from '@sluice/errors'
import OpenAI, {
  APIError,
  AuthenticationError,
  BadRequestError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
} from 'openai'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { deploymentOn } from './model-twin.ts'
import {
  type Door,
  type DoorFixture,
  doorKey,
  everyDeployment,
  fabrikamKey,
  startDoorFixture,
} from './openai-door-fixture.ts'

let fixture: DoorFixture
let door: Door
let openai: OpenAI
beforeAll(async () => {
  fixture = await startDoorFixture()
  door = await fixture.open()
  openai = new OpenAI({ apiKey: doorKey, baseURL: `${door.url}/v1`, maxRetries: 0 })
})
afterAll(async () => {
  await door.close()
  await fixture.close()
})
beforeEach(() => fixture.twin.reset())

const opened: Door[] = []
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close()
})

const user = (content: string) => [{ role: 'user' as const, content }]
const failure = async (pending: Promise<unknown>): Promise<APIError> => {
  const error = await pending.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof APIError)) throw new Error(`expected an APIError, got ${String(error)}`)
  return error
}

describe('errors', () => {
  it.each([
    ['an unknown model', { model: 'nope', messages: user('hi') }, NotFoundError, 'model', 'model_not_found'],
    ['no messages', { model: 'auto', messages: [] }, BadRequestError, 'messages', 'invalid_line'],
    [
      'a message without a role',
      { model: 'auto', messages: [{ content: 'x' }] },
      BadRequestError,
      'messages[0].role',
      'invalid_line',
    ],
    [
      'a maximum that is none',
      { model: 'auto', messages: user('x'), max_tokens: -1 },
      BadRequestError,
      'max_tokens',
      'invalid_line',
    ],
    [
      'a bad option',
      { model: 'auto', messages: user('x'), sluice: { tier: 'huge' } },
      BadRequestError,
      'sluice.tier',
      'invalid_line',
    ],
    [
      'a delivery',
      { model: 'auto', messages: user('x'), sluice: { deliver: [{ type: 'event-hubs' }] } },
      BadRequestError,
      'sluice.deliver',
      'invalid_line',
    ],
    [
      'another tenant',
      { model: 'auto', messages: user('x'), sluice: { tenant: 'fabrikam' } },
      PermissionDeniedError,
      'sluice.tenant',
      'tenant_not_allowed',
    ],
    [
      'a region without the model',
      { model: 'auto', messages: user('x'), sluice: { region: { only: ['mars'] } } },
      BadRequestError,
      'sluice.region.only',
      'no_route',
    ],
  ] as const)('%s', async (_name, body, errorClass, param, code) => {
    const error = await failure(
      openai.chat.completions.create(body as unknown as OpenAI.ChatCompletionCreateParamsNonStreaming),
    )
    expect(error).toBeInstanceOf(errorClass)
    expect(error).toMatchObject({ param, code })
    expect(error.requestID).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('no key, a wrong key, a key that may only read', async () => {
    const ask = (apiKey: string) =>
      failure(
        new OpenAI({ apiKey, baseURL: `${door.url}/v1`, maxRetries: 0 }).chat.completions.create({
          model: 'auto',
          messages: user('hi'),
        }),
      )
    expect(await ask('sk-wrong')).toBeInstanceOf(AuthenticationError)
    expect(await ask('sk-read-only-key')).toBeInstanceOf(PermissionDeniedError)
  })

  it('what the provider refuses keeps its status and sentence; a content filter’s details stay inside', async () => {
    const filtered = await failure(
      openai.chat.completions.create({ model: 'gpt-4.1', messages: user('[content_filter=violence]') }),
    )
    expect(filtered).toBeInstanceOf(BadRequestError)
    expect(filtered.code).toBe('content_policy')
    expect(JSON.stringify(filtered.error)).not.toMatch(/innererror|severity|filter_result/)
    expect(await fixture.twin.calls()).toHaveLength(1)
  })

  it('a prompt that is too long goes to a larger context, and is refused when there is none', async () => {
    const narrow = await fixture.open({
      deployments: (twin) => [
        // The configuration promises more than the deployment holds.
        deploymentOn(twin, 'nano', { model: 'phi', tier: 'small', context_tokens: 8_000 }),
        deploymentOn(twin, 'gpt', { tier: 'large', context_tokens: 128_000 }),
      ],
    })
    opened.push(narrow)
    const client = new OpenAI({ apiKey: doorKey, baseURL: `${narrow.url}/v1`, maxRetries: 0 })
    const long = { model: 'auto', messages: user(`Good morning ${'word '.repeat(600)}`) }
    for (const stream of [false, true]) {
      const answered = client.chat.completions.create({ ...long, stream, sluice: { tier: { max: 'large' } } } as never)
      expect((await answered.asResponse()).headers.get('x-sluice-deployment')).toBe('gpt')
    }
    const refused = await failure(client.chat.completions.create({ ...long, model: 'phi' }))
    expect(refused).toMatchObject({ status: 400, code: 'context_length_exceeded' })
  })

  it('full: 429 with the wait that is right', async () => {
    const tight = await fixture.open({
      waitMs: 100,
      deployments: (twin) => [
        deploymentOn(twin, 'tight', { azure_name: 'gpt', quota: { tokens_per_minute: 100, requests_per_minute: 600 } }),
      ],
    })
    opened.push(tight)
    const client = new OpenAI({ apiKey: doorKey, baseURL: `${tight.url}/v1`, maxRetries: 0 })
    const ask = () => client.chat.completions.create({ model: 'gpt-4.1', messages: user('hi'), max_tokens: 60 })
    await ask()
    const error = await failure(ask())
    expect(error).toBeInstanceOf(RateLimitError)
    expect(error.code).toBe('no_capacity')
    const seconds = Number(error.headers?.get('retry-after'))
    const ms = Number(error.headers?.get('retry-after-ms'))
    // The window is a little longer than a minute: what left it must have left the provider’s as well.
    expect(ms).toBeGreaterThan(50_000)
    expect(ms).toBeLessThanOrEqual(61_500)
    expect(seconds).toBe(Math.ceil(ms / 1000))
    expect(await fixture.twin.calls()).toHaveLength(1)
  })

  it('full for a moment: it waits instead', async () => {
    const brief = await fixture.open({
      deployments: (twin) => [
        deploymentOn(twin, 'brief', {
          azure_name: 'gpt',
          quota: { tokens_per_minute: 100_000, requests_per_minute: 60 },
        }),
      ],
      waitMs: 10_000,
    })
    opened.push(brief)
    const client = new OpenAI({ apiKey: doorKey, baseURL: `${brief.url}/v1`, maxRetries: 0 })
    const ask = () => client.chat.completions.create({ model: 'gpt-4.1', messages: user('hi') })
    await Promise.all([ask(), ask(), ask()])
    expect(brief.log.some((line) => /"waitedMs":[1-9]/.test(line))).toBe(true)
  })

  it('a machine that is taken away without a word is given up, and another one asked', async () => {
    const taken = new AbortController()
    const evictionOf = (name: string) => (name === 'leaving' ? taken.signal : undefined)
    const spot = await fixture.open({
      evictionOf,
      deployments: (twin) => [
        deploymentOn(twin, 'leaving', { azure_name: 'gpt', kind: 'spot' }),
        deploymentOn(twin, 'staying', { azure_name: 'gpt-2', kind: 'spot' }),
      ],
    })
    opened.push(spot)
    await fixture.twin.post('faults', { type: 'hang', deployment: 'gpt' })
    const client = new OpenAI({ apiKey: doorKey, baseURL: `${spot.url}/v1`, maxRetries: 0 })
    const pending = client.chat.completions.create({ model: 'gpt-4.1', messages: user('hi') }).withResponse()
    await expect.poll(async () => (await fixture.twin.calls()).length, { timeout: 10_000 }).toBe(1)
    taken.abort(new AppError('model_unavailable', 'The machine was taken away.'))
    expect((await pending).response.headers.get('x-sluice-deployment')).toBe('staying')
  })

  it('a tenant whose bodies make the provider fail closes no deployment for others', async () => {
    const names = ['one', 'two'] as const
    const shared = await fixture.open({
      deployments: (twin) =>
        names.map((name, n) => deploymentOn(twin, name, { azure_name: n === 0 ? 'gpt' : 'gpt-2' })),
    })
    opened.push(shared)
    const clientOf = (apiKey: string) => new OpenAI({ apiKey, baseURL: `${shared.url}/v1`, maxRetries: 0 })
    const [bad, good] = [clientOf(doorKey), clientOf(fabrikamKey)]
    for (let round = 0; round < 8; round++) {
      for (const model of names) await good.chat.completions.create({ model, messages: user('hi') })
      await fixture.twin.post('faults', { type: 'status', status: 500, count: 6 })
      for (let n = 0; n < 3; n++) {
        const error = await failure(bad.chat.completions.create({ model: 'gpt-4.1', messages: user('bad') }))
        expect(error.status).toBe(502)
      }
    }
    const quotas = names.map((name) => ({ name, tokensPerMinute: 1, requestsPerMinute: 1 }))
    expect((await shared.admission.states(quotas)).map(({ breaker }) => breaker)).toEqual(['closed', 'closed'])
  })

  it('a deployment that is down is passed over, and the caller learns nothing of it', async () => {
    await fixture.twin.post('faults', { type: 'outage', resource: 'swedencentral' })
    for (let n = 0; n < 4; n++) {
      const { response } = await openai.chat.completions
        .create({ model: 'gpt-4.1', messages: user(`hi ${n}`) })
        .withResponse()
      expect(response.headers.get('x-sluice-region')).toBe('eastus2')
    }
    await fixture.twin.post('faults', { type: 'outage', resource: 'eastus2' })
    const error = await failure(openai.chat.completions.create({ model: 'gpt-4.1', messages: user('hi') }))
    expect(error.status).toBe(502)
  })
})

const resetOf = ({ headers }: APIError): string => headers?.get('x-ratelimit-reset-requests') ?? ''

describe('limits of a tenant', () => {
  const chatWith = async (options: Parameters<DoorFixture['open']>[0]) => {
    const own = await fixture.open(options)
    opened.push(own)
    const client = new OpenAI({ apiKey: doorKey, baseURL: `${own.url}/v1`, maxRetries: 0 })
    return (more: object = {}, request: object = {}) =>
      client.chat.completions
        .create(
          { model: 'gpt-4.1', messages: user('hi'), ...more } as OpenAI.ChatCompletionCreateParamsNonStreaming,
          request,
        )
        .withResponse()
  }

  it('are told with each answer, and with the wait when they are reached', async () => {
    const ask = await chatWith({
      waitMs: 50,
      shares: [
        { name: 'limited', requestsPerMinute: 100, tokensPerMinute: 10_000 },
        { name: 'limited/key', requestsPerMinute: 2 },
      ],
    })
    const { response } = await ask()
    expect(response.headers.get('x-ratelimit-limit-requests')).toBe('2')
    expect(response.headers.get('x-ratelimit-remaining-requests')).toBe('1')
    expect(response.headers.get('x-ratelimit-limit-tokens')).toBe('10000')
    expect(Number(response.headers.get('x-ratelimit-remaining-tokens'))).toBeGreaterThan(9_000)
    // A minute is counted by seconds that leave as a whole.
    for (const what of ['requests', 'tokens']) {
      expect(response.headers.get(`x-ratelimit-reset-${what}`)).toMatch(/^1m(0(\.\d+)?|1)s$/)
    }
    await ask()
    const error = await failure(ask())
    expect(error).toBeInstanceOf(RateLimitError)
    expect(error.code).toBe('rate_limited')
    const waitMs = Number(error.headers?.get('retry-after-ms'))
    expect(waitMs).toBeGreaterThan(1_000)
    expect(error.headers?.get('x-ratelimit-remaining-requests')).toBe('0')
    const [, minutes = 0, seconds = 0] = /^(?:(\d)m)?([\d.]+)s$/.exec(resetOf(error)) ?? []
    // Room for one call comes no later than for all of them, which were made within moments.
    const resetMs = Number(minutes) * 60_000 + Number(seconds) * 1_000
    expect(resetMs).toBeGreaterThanOrEqual(waitMs)
    expect(resetMs - waitMs).toBeLessThan(20_000)
    expect(await fixture.twin.calls()).toHaveLength(2)
  })

  it('a budget that is spent refuses until its day is over', async () => {
    const ask = await chatWith({ tenants: { contoso: { budget: { day_usd: 0.000_001 } } } })
    const error = await failure(ask({ max_tokens: 50 }))
    expect(error).toMatchObject({ status: 429, code: 'budget_exceeded' })
    expect(Number(error.headers?.get('retry-after'))).toBeGreaterThan(0)
    expect(await fixture.twin.calls()).toHaveLength(0)
  })

  it('what it may cost limits the answer or refuses it', async () => {
    const ask = await chatWith({})
    expect(await failure(ask({ max_tokens: 4_000, sluice: { max_cost_usd: 0.000_01 } }))).toMatchObject({
      status: 400,
      code: 'cost_limit',
    })
    expect(await fixture.twin.calls()).toHaveLength(0)
  })

  it('an answer is given again when the caller allows it, streamed too', async () => {
    const ask = await chatWith({})
    const cache = { headers: { 'x-sluice-cache': 'exact' } }
    const first = await ask({ seed: 7 }, cache)
    expect(first.response.headers.get('x-sluice-cache')).toBeNull()
    let again = await ask({ seed: 7 }, cache)
    // The answer is kept in the background.
    for (let tries = 0; again.response.headers.get('x-sluice-cache') !== 'hit' && tries < 200; tries++) {
      again = await ask({ seed: 7 }, cache)
    }
    expect(again.response.headers.get('x-sluice-cache')).toBe('hit')
    expect(again.data.choices).toEqual(first.data.choices)
    const calls = (await fixture.twin.calls()).length
    const streamed = await openaiOf(again.response.url).chat.completions.create(
      { model: 'gpt-4.1', messages: user('hi'), seed: 7, stream: true },
      cache,
    )
    let text = ''
    for await (const chunk of streamed) text += chunk.choices[0]?.delta.content ?? ''
    expect(text).toBe(first.data.choices[0]?.message.content)
    expect(await fixture.twin.calls()).toHaveLength(calls)
  })

  const openaiOf = (url: string) =>
    new OpenAI({ apiKey: doorKey, baseURL: url.replace('/chat/completions', ''), maxRetries: 0 })
})

it('neither prompts nor keys are in the log', async () => {
  const secret = 'a very private sentence'
  await openai.chat.completions.create({ model: 'auto', messages: user(secret) })
  await failure(openai.chat.completions.create({ model: 'nope', messages: user(secret) }))
  const log = door.log.join('')
  expect(log).not.toContain(secret)
  expect(log).not.toContain(doorKey)
  expect(everyDeployment(fixture.twin).some(({ api_key }) => log.includes(api_key ?? '?'))).toBe(false)
})
