import { RateLimitError } from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import { deploymentState, startTwin } from './openai-twin.ts'
import type { DeploymentConfig, TwinUnderTest } from './openai-twin.ts'

describe('quotas', () => {
  let under: TwinUnderTest | undefined
  // Frozen unless a test moves it: a window never ends by itself in the middle of a test.
  let now = Date.UTC(2026, 0, 1)
  const start = async (
    deployment: Omit<DeploymentConfig, 'name' | 'model'>,
    model = 'gpt-4.1',
  ): Promise<TwinUnderTest> => {
    under = await startTwin([{ name: 'chat', model, ...deployment }], { clock: () => now })
    return under
  }
  // 34 characters of message text with its role: 9 tokens by Azure's estimate of 4 characters each.
  const call = (twin: TwinUnderTest, limits: { max_tokens?: number; n?: number } = {}) =>
    twin.openai.chat.completions
      .create({ model: 'chat', messages: [{ role: 'user', content: 'twenty seven characters now' }], ...limits })
      .asResponse()
  const refusal = async (attempt: Promise<unknown>): Promise<RateLimitError> => {
    const error = await attempt.catch((failure: unknown) => failure)
    if (!(error instanceof RateLimitError)) throw new Error(`expected a 429, got ${String(error)}`)
    return error
  }

  afterEach(async () => {
    await under?.close()
    under = undefined
    now += 3_600_000
  })

  test('tokens are counted on arrival: prompt estimate plus max_tokens times n', async () => {
    const twin = await start({ tokens_per_minute: 1_000 })
    const first = await call(twin, { max_tokens: 100, n: 3 })
    expect(first.headers.get('x-ratelimit-limit-tokens')).toBe('1000')
    expect(first.headers.get('x-ratelimit-remaining-tokens')).toBe(String(1_000 - 9 - 300))
    const { accepted_estimated_tokens: accepted } = await deploymentState(twin, 'chat')
    expect(accepted).toBe(309)
  })

  test('without a maximum the estimate takes default_max_tokens', async () => {
    const twin = await start({ tokens_per_minute: 1_000, default_max_tokens: 50 })
    expect((await call(twin)).headers.get('x-ratelimit-remaining-tokens')).toBe(String(1_000 - 59))
  })

  test('a used-up minute is a 429 that says when the next begins, and nothing is given back before', async () => {
    const twin = await start({ tokens_per_minute: 250 })
    await call(twin, { max_tokens: 200 })
    const error = await refusal(call(twin, { max_tokens: 200 }))
    expect(error.code).toBe('429')
    expect(String(error)).toContain('exceeded token rate limit')
    expect(error.headers.get('policy-id')).toBe('DeploymentRatelimit-Token')
    const waitMs = Number(error.headers.get('retry-after-ms'))
    expect(waitMs).toBeGreaterThan(0)
    expect(waitMs).toBeLessThanOrEqual(60_000)
    expect(error.headers.get('retry-after')).toBe(String(Math.ceil(waitMs / 1000)))
    now += waitMs - 1
    await refusal(call(twin, { max_tokens: 200 }))
    now += 1
    expect((await call(twin, { max_tokens: 200 })).status).toBe(200)
  })

  test('a refused call does not use up tokens', async () => {
    const twin = await start({ tokens_per_minute: 300 })
    await call(twin, { max_tokens: 200 })
    await refusal(call(twin, { max_tokens: 200 }))
    expect((await call(twin, { max_tokens: 50 })).status).toBe(200)
    const state = await deploymentState(twin, 'chat')
    expect(state).toMatchObject({ calls: 3, refused_calls: 1, accepted_estimated_tokens: 9 + 200 + 9 + 50 })
    expect(state.windows.at(-1)).toMatchObject({ accepted: 268, refused: 209 })
  })

  test('an estimate over the whole limit never fits: retry after 86400 seconds, as Azure says', async () => {
    const twin = await start({ tokens_per_minute: 100 })
    const error = await refusal(call(twin, { max_tokens: 200 }))
    expect(error.headers.get('retry-after')).toBe('86400')
  })

  test('calls are limited to a sixtieth in each second', async () => {
    const twin = await start({ requests_per_minute: 120 })
    now = Math.ceil(now / 1000) * 1000
    await call(twin)
    await call(twin)
    const error = await refusal(call(twin))
    expect(error.headers.get('policy-id')).toBe('DeploymentRatelimit-Call')
    expect(Number(error.headers.get('retry-after-ms'))).toBeLessThanOrEqual(1_000)
    now += 1_000
    expect((await call(twin)).status).toBe(200)
  })

  test('and to a sixth in each ten seconds', async () => {
    const twin = await start({ requests_per_minute: 30 })
    let accepted = 0
    let refused: RateLimitError | undefined
    // Eleven seconds touch at most two periods of ten: ten calls are allowed, an eleventh never.
    for (let second = 0; second < 11; second++, now += 1_000) {
      await call(twin).then(
        () => accepted++,
        (error: unknown) => (refused = error as RateLimitError),
      )
    }
    expect(accepted).toBeGreaterThanOrEqual(5)
    expect(accepted).toBeLessThanOrEqual(10)
    expect(refused).toBeInstanceOf(RateLimitError)
  })

  test('a sliding window never lets 60 seconds hold more than the limit', async () => {
    const twin = await start({ tokens_per_minute: 250, token_window: 'sliding' })
    await call(twin, { max_tokens: 200 })
    for (let waited = 0; waited < 60_000; waited += 10_000) {
      await refusal(call(twin, { max_tokens: 200 }))
      now += 10_000
    }
    now += 1_000
    expect((await call(twin, { max_tokens: 200 })).status).toBe(200)
  })

  test('windows of two deployments do not start together', async () => {
    under = await startTwin(
      ['a', 'b', 'c'].map((name) => ({ name, model: 'gpt-4.1', tokens_per_minute: 1_000 })),
      { clock: () => now },
    )
    const resets = new Set<string | null>()
    for (const model of ['a', 'b', 'c']) {
      const answer = await under.openai.chat.completions
        .create({ model, messages: [{ role: 'user', content: 'x' }] })
        .asResponse()
      resets.add(answer.headers.get('x-ratelimit-reset-tokens'))
    }
    expect(resets.size).toBeGreaterThan(1)
  })

  test('a PTU deployment refuses at 100 % utilisation and drains continuously', async () => {
    const twin = await start({ kind: 'ptu', ptu_tokens_per_minute: 1_000 })
    const first = await call(twin, { max_tokens: 5_000 })
    expect(first.headers.get('azure-openai-deployment-utilization')).toMatch(/^5\d\d\.\d%$/)
    await first.text()
    // The call has ended: its estimate is corrected to what it used, and there is room again.
    const second = await call(twin, { max_tokens: 10 })
    expect(parseFloat(second.headers.get('azure-openai-deployment-utilization') ?? '')).toBeLessThan(50)
    for (let i = 0; i < 8; i++) {
      const answer = await twin.openai.chat.completions
        .create({ model: 'chat', messages: [{ role: 'user', content: `fill ${i} [tokens=400]` }], max_tokens: 400 })
        .asResponse()
        .catch((error: unknown) => error)
      if (answer instanceof RateLimitError) {
        const waitMs = Number(answer.headers.get('retry-after-ms'))
        expect(waitMs).toBeGreaterThan(0)
        expect(parseFloat(answer.headers.get('azure-openai-deployment-utilization') ?? '')).toBeGreaterThanOrEqual(100)
        now += waitMs
        expect((await call(twin, { max_tokens: 10 })).status).toBe(200)
        return
      }
    }
    throw new Error('utilisation never reached 100 %')
  })

  test('quotas change while the twin runs, and bad settings are refused by name', async () => {
    const twin = await start({ tokens_per_minute: 100 })
    const at = { resource: 'unit', deployment: 'chat' }
    await refusal(call(twin, { max_tokens: 200 }))
    await twin.control('POST', 'deployments', { ...at, settings: { tokens_per_minute: 10_000 } })
    expect((await call(twin, { max_tokens: 200 })).status).toBe(200)
    const bad = await twin.control('POST', 'deployments', { ...at, settings: { tokens_per_minute: -1 } })
    expect(bad).toMatchObject({ status: 400, error: 'unit/chat.tokens_per_minute: must be positive' })
    const unknown = await twin.control('POST', 'deployments', { ...at, settings: { tpm: 1 } })
    expect(unknown).toMatchObject({ status: 400, error: 'unit/chat.tpm: unknown field' })
  })

  test('advancing the virtual clock ends a window', async () => {
    const twin = await start({ tokens_per_minute: 250 })
    await call(twin, { max_tokens: 200 })
    await refusal(call(twin, { max_tokens: 200 }))
    await twin.control('POST', 'clock', { advanceMs: 60_000 })
    expect((await call(twin, { max_tokens: 200 })).status).toBe(200)
    expect(await twin.control('POST', 'clock', { advanceMs: -1 })).toMatchObject({ status: 400 })
  })
})
