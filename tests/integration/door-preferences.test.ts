import { createBudgets } from '@sluice/admission'
import { systemClock } from '@sluice/resilience'
import { createLogger } from '@sluice/telemetry'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { chatLine, type DoorFixture, platformKey, startDoor } from './ingest-fixture.ts'

const origin = 'https://app.example'
let door: DoorFixture
beforeAll(async () => {
  door = await startDoor({
    platform: (config) => ({
      ...config,
      access: { ...config.access, cors_origins: [origin] },
      tenants: {
        ...config.tenants,
        fabrikam: { ...config.tenants.local!, budget: { day_usd: 0.01 } },
        contoso: { ...config.tenants.local!, limits: { requests_per_minute: 3 } },
      },
    }),
  })
}, 60_000)
afterAll(() => door.stop(), 60_000)

const tenant = 'local'
const body = { model: 'small', messages: [{ role: 'user', content: 'hi' }] }
const call = (
  prefer: string,
  json: object = body,
  headers: Record<string, string> = {},
  path = '/v1/chat/completions',
) => door.api(path, { json, headers: { prefer, ...headers } })

/** The request that was made with that idempotency key, once it is stored. */
const stored = (customId: string) =>
  vi.waitFor(
    async () => {
      const { rows } = await door.ledger.list(tenant, { customId, limit: 1 })
      expect(rows).toHaveLength(1)
      return rows[0]!
    },
    { timeout: 15_000, interval: 20 },
  )

describe('Prefer: respond-async', () => {
  test('queues a synchronous call, in its own spelling and in Azure’s', async () => {
    for (const path of [
      '/v1/chat/completions',
      '/openai/v1/chat/completions',
      '/openai/deployments/small/chat/completions?api-version=2024-10-21',
    ]) {
      const answer = await call('respond-async', { messages: body.messages }, {}, path)
      expect(answer.status).toBe(202)
      expect(answer.headers.get('preference-applied')).toBe('respond-async')
      const view = (await answer.json()) as { id: string; place: unknown }
      expect(answer.headers.get('location')).toBe(`/v1/requests/${view.id}`)
      expect(view.place).toMatchObject({ position: expect.any(Number), estimate: true })
      const row = await door.ledger.get(tenant, view.id)
      expect(row?.body).toEqual({ messages: body.messages, model: path.includes('deployments') ? 'small' : 'auto' })
    }
  })

  test('with wait answers as the synchronous call would, when the answer is there in time', async () => {
    const answering = call('respond-async, wait=20', body, { 'idempotency-key': 'waited' })
    const row = await stored('waited')
    await door.finish(tenant, row.id, { body: { object: 'chat.completion', choices: [] } })
    const answer = await answering
    expect(answer.status).toBe(200)
    expect(answer.headers.get('preference-applied')).toBe('wait=20')
    expect(answer.headers.get('x-sluice-request-id')).toBe(row.id)
    expect(await answer.json()).toEqual({ object: 'chat.completion', choices: [] })
  })

  test('with wait answers 202 when the time is over', async () => {
    const answer = await call('wait=1, respond-async')
    expect(answer.status).toBe(202)
    expect(answer.headers.get('preference-applied')).toBe('respond-async, wait=1')
  })

  test('takes deliver and the other options of a line', async () => {
    const sluice = { priority: 'bulk', deliver: [{ type: 'signalr', user: 'u1' }] }
    const answer = await call('respond-async', { ...body, sluice }, { 'x-sluice-tier': 'small..medium' })
    expect(answer.status).toBe(202)
    const { id, lane } = (await answer.json()) as { id: string; lane: string }
    expect(lane).toBe('requests-bulk')
    const row = await door.ledger.get(tenant, id)
    expect(row?.line.sluice).toEqual({ ...sluice, tier: { min: 'small', max: 'medium' } })
    expect(row?.body).toEqual(body)
  })

  test('a repetition is the same request, another body under its key a 409', async () => {
    const once = () => call('respond-async', body, { 'idempotency-key': 'repeated' }).then((answer) => answer.json())
    expect(((await once()) as { id: string }).id).toBe(((await once()) as { id: string }).id)
    const other = await call('respond-async', { ...body, model: 'large' }, { 'idempotency-key': 'repeated' })
    expect(other.status).toBe(409)
  })

  test.each<[string, object | string, string, number, string | null]>([
    ['no messages', { model: 'auto' }, 'respond-async', 400, 'messages'],
    ['a message without a role', { messages: [{ content: 'x' }] }, 'respond-async', 400, 'messages[0].role'],
    ['an unknown option', { ...body, sluice: { prio: 1 } }, 'respond-async', 400, 'sluice.prio'],
    ['a list as body', [1], 'respond-async', 400, null],
    ['a wait that is no number', body, 'respond-async, wait=soon', 400, 'Prefer'],
  ])('%s is refused by name', async (_, json, prefer, status, param) => {
    const answer = await call(prefer, json as object)
    expect(answer.status).toBe(status)
    expect(await answer.json()).toMatchObject({ error: { param } })
  })
})

describe('limits', () => {
  test('the requests of a minute: what is left is said, and a refusal names the right wait', async () => {
    const made = await door.api('/v1/keys', { json: { scopes: ['submit', 'read'], tenant: 'contoso' } })
    const { key } = (await made.json()) as { key: string }
    const answers = []
    for (let n = 0; n < 4; n++) answers.push(await door.api('/v1/requests', { json: chatLine(`l-${n}`), key }))
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 429])
    expect(answers[0]?.headers.get('x-ratelimit-limit-requests')).toBe('3')
    expect(answers.map((answer) => Number(answer.headers.get('x-ratelimit-remaining-requests')))).toEqual([2, 1, 0, 0])
    // What one call takes comes back in twenty seconds.
    const [first, last] = [answers[0]!, answers[3]!].map((answer) => answer.headers.get('x-ratelimit-reset-requests'))
    expect(first).toMatch(/^(20|19\.\d+)s$/)
    expect(last).toMatch(/^(1m0|5\d(\.\d+)?)s$/)
    const refused = answers[3]!
    expect(await refused.json()).toMatchObject({ error: { code: 'rate_limited', type: 'rate_limit_error' } })
    // Three a minute come back one every twenty seconds.
    const waitMs = Number(refused.headers.get('retry-after-ms'))
    expect(waitMs).toBeGreaterThan(0)
    expect(waitMs).toBeLessThanOrEqual(20_000)
    expect(Number(refused.headers.get('retry-after'))).toBe(Math.ceil(waitMs / 1000))
    const others = await door.api('/v1/requests', { json: chatLine('other') })
    expect(others.status).toBe(202)
  })

  test('a key has its own within its tenant’s, and a line of many is refused by itself', async () => {
    const made = await door.api('/v1/keys', { json: { scopes: ['submit'], limits: { requests_per_minute: 2 } } })
    const { key } = (await made.json()) as { key: string }
    const lines = [1, 2, 3].map((n) => JSON.stringify(chatLine(`k-${n}`))).join('\n')
    const headers = { 'content-type': 'application/jsonl' }
    const answer = await door.api('/v1/requests', { method: 'POST', body: lines, headers, key })
    const fates = (await answer.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { status: number; retry_after_ms?: number })
    expect(fates.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 202, 429])
    expect(fates.find(({ status }) => status === 429)?.retry_after_ms).toBeLessThanOrEqual(30_000)
  })
})

describe('budgets', () => {
  test('what is spent is shown, and once it is too much nothing more is queued until the period ends', async () => {
    const made = await door.api('/v1/keys', { json: { scopes: ['submit', 'read'], tenant: 'fabrikam' } })
    const { key } = (await made.json()) as { key: string }
    expect((await door.api('/v1/requests', { json: chatLine('cheap'), key })).status).toBe(202)
    const logger = createLogger({ service: 'test', level: 'silent' })
    const budgets = createBudgets({ redis: door.redis.client, cosmos: door.cosmos, clock: systemClock, logger })
    const spent = await budgets.reserve({ tenant: 'fabrikam', estimateUsd: 0.02, budget: {} })
    if (spent.kind === 'held') spent.hold.commit(0.02)
    await budgets.close()

    const refused = await vi.waitFor(
      async () => {
        const answer = await door.api('/v1/requests', { json: chatLine('dear'), key })
        expect(answer.status).toBe(429)
        return answer
      },
      { timeout: 15_000, interval: 100 },
    )
    expect(await refused.json()).toMatchObject({ error: { code: 'budget_exceeded', type: 'insufficient_quota' } })
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(24 * 3600)
    const batch = { input_file_id: 'file-x', endpoint: '/v1/chat/completions' }
    const noWayAround = await door.api('/v1/batches', { json: batch, key })
    expect(await noWayAround.json()).toMatchObject({ error: { code: 'budget_exceeded' } })
    const usage = await door.api('/v1/usage', { key })
    expect(await usage.json()).toMatchObject({
      tenant: 'fabrikam',
      spend: { day_usd: 0.02 },
      budget: { day_usd: 0.01, month_usd: null },
      submissions: null,
    })
  })
})

describe('the chat front', () => {
  const ask = (json: object) => door.api('/api/ModelRouter', { json })

  test('answers a message and says what was chosen for it', async () => {
    const answer = await ask({ message: 'Say hello', userId: 'u1', sessionId: 's1' })
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({
      answer: expect.stringMatching(/./),
      tier: expect.stringMatching(/^(small|medium|large)$/),
      model: expect.stringMatching(/./),
      score: expect.any(Number),
      sessionId: 's1',
    })
    // Its tenant has no budget; what it spends is counted all the same.
    await vi.waitFor(
      async () => {
        const usage = (await (await door.api('/v1/usage')).json()) as { spend: { day_usd: number } }
        expect(usage).toMatchObject({ tenant: 'local', budget: { day_usd: null, month_usd: null } })
        expect(usage.spend.day_usd).toBeGreaterThan(0)
      },
      { timeout: 15_000, interval: 100 },
    )
  })

  test('keeps a session in its region', async () => {
    const regions = new Set<unknown>()
    for (let n = 0; n < 4; n++) {
      const answer = await ask({ message: `Say ${n}`, sessionId: 'steady' })
      regions.add(((await answer.json()) as { region: string }).region)
    }
    expect(regions.size).toBe(1)
  })

  test.each([{}, { message: '' }, { message: 1 }, { message: 'x', sessionId: '' }, { message: 'x', mode: 'video' }])(
    '%j is a 400',
    async (json) => {
      expect((await ask(json)).status).toBe(400)
    },
  )

  test('hands out SignalR connections of the caller’s tenant on both paths', async () => {
    for (const path of ['/api/SignalRInfo', '/negotiate']) {
      const answer = await door.api(path, { json: { userId: 'u1' } })
      expect(answer.status).toBe(200)
      const { accessToken } = (await answer.json()) as { accessToken: string }
      const claims = JSON.parse(Buffer.from(accessToken.split('.')[1] ?? '', 'base64url').toString()) as {
        nameid: string
      }
      expect(claims.nameid).toBe('local|u1')
    }
  })
})

describe('browsers', () => {
  test('of a configured origin may call; others are not told so', async () => {
    const preflight = (from: string) =>
      door.api('/v1/requests', {
        method: 'OPTIONS',
        key: null,
        headers: {
          origin: from,
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization',
        },
      })
    const allowed = await preflight(origin)
    expect(allowed.status).toBe(204)
    expect(allowed.headers.get('access-control-allow-origin')).toBe(origin)
    expect(allowed.headers.get('access-control-allow-headers')).toBe('authorization')
    expect((await preflight('https://evil.example')).headers.get('access-control-allow-origin')).toBeNull()
    const read = await door.api('/v1/requests', { headers: { origin } })
    expect(read.headers.get('access-control-allow-origin')).toBe(origin)
    expect(read.headers.get('access-control-expose-headers')).toContain('retry-after')
  })
})

describe('documents', () => {
  test('every route is described, from the schemas that it validates with', async () => {
    const answer = await door.api('/openapi.json', { key: null })
    const { openapi, paths } = (await answer.json()) as {
      openapi: string
      paths: Record<string, Record<string, { operationId: string; summary: string }>>
    }
    expect(openapi).toBe('3.1.0')
    expect(Object.keys(paths)).toEqual(
      expect.arrayContaining([
        '/v1/requests',
        '/v1/requests/{id}/events',
        '/v1/keys/{id}',
        '/v1/chat/completions',
        '/metrics',
      ]),
    )
    const operations = Object.values(paths).flatMap((methods) => Object.values(methods))
    const ids = operations.map(({ operationId }) => operationId)
    expect(new Set(ids).size).toBe(ids.length)
    expect(operations.every(({ summary }) => summary.length > 0)).toBe(true)
  })

  test('the page needs nothing from elsewhere and runs no script but its own', async () => {
    const answer = await door.api('/docs', { key: null })
    expect(answer.headers.get('content-type')).toContain('text/html')
    expect(answer.headers.get('content-security-policy')).toMatch(/script-src 'sha256-/)
    expect(await answer.text()).not.toMatch(/https?:\/\//)
  })
})

test('the unmodified openai SDK reads a refusal as its own error class', async () => {
  const client = new OpenAI({ apiKey: platformKey, baseURL: `${door.url}/v1`, maxRetries: 0 })
  const refused = client.chat.completions.create(
    { model: 'auto', messages: [] },
    { headers: { prefer: 'respond-async' } },
  )
  await expect(refused).rejects.toMatchObject({ status: 400, param: 'messages', code: 'invalid_line' })
})
