import Fastify, { type FastifyInstance } from 'fastify'
import { AppError } from '@sluice/errors'
import type { Ledger } from '@sluice/ledger'
import { systemClock } from '@sluice/resilience'
import { createLogger } from '@sluice/telemetry'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { answerError } from '../../services/ingest/src/answer-error.ts'
import type { Authenticate, Caller } from '../../services/ingest/src/authenticate.ts'
import { deliveryRoutes } from '../../services/ingest/src/deliveries.ts'
import { createRoutes } from '../../services/ingest/src/routes.ts'
import { webhookEndpointRoutes } from '../../services/ingest/src/webhook-endpoints.ts'
import {
  eventually,
  finished,
  type Ground,
  startNotifierGround,
  startReceiver,
  startWebhooks,
  verified,
} from './notifier-fixture.ts'

vi.setConfig({ testTimeout: 150_000 })

let ground: Ground & { stop(): Promise<void> }
let webhooks: Awaited<ReturnType<typeof startWebhooks>>
let app: FastifyInstance
let url: string
const results: object[] = []

/** Keys are `<tenant>:<scope>`; how real ones are checked is another test's business. */
const authenticate: Authenticate = async (request, permission) => {
  const [tenant = '', scope = ''] = (request.headers.authorization ?? '').replace('Bearer ', '').split(':')
  if (tenant === '') throw new AppError('unauthorized', 'no key')
  if (scope !== 'admin' && scope !== permission) throw new AppError('forbidden', 'not allowed')
  return { tenant, scopes: [scope], platform: false } as unknown as Caller
}

beforeAll(async () => {
  ground = await startNotifierGround()
  webhooks = await startWebhooks(ground)
  app = Fastify()
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_, body, done) => done(null, body))
  const logger = createLogger({ service: 'test', level: 'silent' })
  app.setErrorHandler((error, request, reply) => answerError(logger, error as AppError, request, reply))
  const routes = createRoutes(app, authenticate)
  webhookEndpointRoutes(routes, { config: webhooks.platform, endpoints: webhooks.endpoints })
  deliveryRoutes(routes, {
    ledger: { get: async () => undefined } as unknown as Ledger,
    deliveries: webhooks.deliveries,
    results: { send: async (message) => void results.push(message) },
    clock: systemClock,
  })
  url = await app.listen({ host: '127.0.0.1', port: 0 })
})
afterAll(async () => {
  await app.close()
  await webhooks.stop()
  await ground.stop()
})

async function call(key: string, method: string, path: string, body?: unknown) {
  const answer = await fetch(`${url}${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  const text = await answer.text()
  return { status: answer.status, body: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> }
}
const admin = 'contoso:admin'
const repeat = (times: number, one: object) => Array.from({ length: times }, () => one)

test('an endpoint is registered, listed without its secret, changed, rotated and removed; its secret verifies', async () => {
  const receiver = await startReceiver()
  const created = await call(admin, 'POST', '/v1/webhook-endpoints', { url: receiver.url })
  expect(created).toMatchObject({ status: 201, body: { status: 'enabled', event_types: ['*'], fifo: null } })
  const { id, secret } = created.body as { id: string; secret: string }
  expect(secret).toMatch(/^whsec_/)
  const one = `/v1/webhook-endpoints/${id}`
  for (const path of ['/v1/webhook-endpoints', one]) {
    expect(JSON.stringify((await call('contoso:read', 'GET', path)).body)).not.toMatch(/whsec_|sealed|"secrets"/)
  }
  await webhooks.publish(finished())
  await eventually(() => receiver.arrivals.length === 1)
  const [arrival] = receiver.arrivals
  if (arrival === undefined) throw new Error('nothing arrived')
  expect(verified(secret, arrival)).toBeDefined()

  const rotated = await call(admin, 'POST', `${one}/rotate-secret`)
  expect(rotated.body).toMatchObject({ id, secret_overlap_until: expect.any(String) as string })
  expect(rotated.body.secret).not.toBe(secret)
  expect((await call(admin, 'POST', `${one}/rotate-secret`, { overlap_seconds: 60 })).status).toBe(409)
  const disabled = await call(admin, 'PATCH', one, { status: 'disabled', event_types: ['sluice.batch.*'] })
  expect(disabled.body).toMatchObject({
    status: 'disabled',
    disabled: { reason: 'requested' },
    event_types: ['sluice.batch.*'],
  })
  expect((await call(admin, 'PATCH', one, { status: 'enabled' })).body).toMatchObject({ disabled: null })
  expect((await call(admin, 'DELETE', one)).status).toBe(204)
  expect((await call(admin, 'GET', one)).status).toBe(404)
  await receiver.close()
})

test.each([
  [{ url: 'http://example.com/' }, 'url'],
  [{ url: 'https://user:pw@example.com/' }, 'url'],
  [{ url: 'ftp://example.com/' }, 'url'],
  [{ url: 'not a url' }, 'url'],
  [{}, 'url'],
  [{ url: 'https://example.com/', event_types: [] }, 'event_types'],
  [{ url: 'https://example.com/', event_types: ['order.paid'] }, 'event_types[0]'],
  [{ url: 'https://example.com/', fifo: 'tenant' }, 'fifo'],
  [{ url: 'https://example.com/', concurrency: 0 }, 'concurrency'],
])('%j is refused and the field named', async (input, param) => {
  const { status, body } = await call(admin, 'POST', '/v1/webhook-endpoints', input)
  expect(status).toBe(400)
  expect(body).toMatchObject({ error: { type: 'invalid_request_error', param } })
})

test('tenants know nothing of each other’s endpoints and deliveries', async () => {
  const created = await call(admin, 'POST', '/v1/webhook-endpoints', { url: 'https://example.com/' })
  const path = `/v1/webhook-endpoints/${String(created.body.id)}`
  const other = 'fabrikam:admin'
  expect((await call(other, 'GET', '/v1/webhook-endpoints')).body.data).toEqual([])
  for (const [method, body] of [['GET'], ['DELETE'], ['PATCH', { status: 'disabled' }]] as const) {
    expect((await call(other, method, path, body)).status, method).toBe(404)
  }
  expect((await call(other, 'POST', `${path}/rotate-secret`)).status).toBe(404)
  expect((await call(admin, 'GET', path)).body).toMatchObject({ status: 'enabled' })
  await call(admin, 'DELETE', path)

  const event = finished()
  const target = { type: 'webhook' as const, url: 'https://example.com/' }
  const delivered = { tenant: 'contoso', requestId: event.subject, event, target }
  const row = await webhooks.deliveries.conclude(delivered, undefined, { kind: 'failed', reason: 'gone' })
  const replay = `/v1/requests/${event.subject}/deliveries/${row?.id}/replay`
  expect((await call(other, 'GET', `/v1/requests/${event.subject}/deliveries`)).status).toBe(404)
  expect((await call(other, 'POST', replay)).status).toBe(404)
  expect((await call(other, 'GET', '/v1/deliveries')).body.data).toEqual([])
  const since = '2020-01-01T00:00:00Z'
  expect((await call(other, 'POST', '/v1/deliveries/replay', { since })).body).toMatchObject({ replayed: 0 })
  expect(await webhooks.deliveries.find(delivered)).toMatchObject({ status: 'failed' })
})

test('reading does not let change: scopes', async () => {
  const input = { url: 'https://example.com/' }
  expect((await call('contoso:read', 'POST', '/v1/webhook-endpoints', input)).status).toBe(403)
  expect((await call('contoso:submit', 'POST', '/v1/webhook-endpoints', input)).status).toBe(403)
  expect((await call(':read', 'GET', '/v1/webhook-endpoints')).status).toBe(401)
})

test('failed deliveries are listed with reason and attempts, and replayed one by one or since a time', async () => {
  let broken = true
  const receiver = await startReceiver((_, response) => response.writeHead(broken ? 500 : 204).end('sorry'))
  const before = new Date().toISOString()
  const events = Array.from({ length: 3 }, () => finished())
  for (const event of events) await webhooks.publish(event, [{ type: 'webhook', url: receiver.url }])
  type Page = { data: { id: string; request_id: string; attempts: object[]; reason: string }[]; next: string | null }
  const failed = async () => {
    const { body } = await call(admin, 'GET', '/v1/deliveries?status=failed&limit=2')
    const first = body as unknown as Page
    const next =
      first.next === null ? undefined : await call(admin, 'GET', `/v1/deliveries?limit=2&after=${first.next}`)
    const all = [...first.data, ...((next?.body as unknown as Page | undefined)?.data ?? [])]
    return all.filter(({ request_id }) => events.some(({ subject }) => subject === request_id))
  }
  await eventually(async () => (await failed()).length === 3)
  expect(await failed()).toMatchObject(
    repeat(3, { reason: 'no success in 6 attempts', attempts: repeat(6, { status: 500, excerpt: 'sorry' }) }),
  )
  broken = false
  const [one] = await failed()
  const again = await call(admin, 'POST', `/v1/requests/${one?.request_id}/deliveries/${one?.id}/replay`)
  expect(again).toMatchObject({ status: 202, body: { status: 'pending', reason: null } })
  const rest = await call(admin, 'POST', '/v1/deliveries/replay', { since: before })
  expect(rest).toMatchObject({ status: 202, body: { replayed: 2, remaining: false } })
  await eventually(() => events.every(({ id }) => receiver.of(id).length === 7))
  const shown = await call('contoso:read', 'GET', `/v1/requests/${one?.request_id}/deliveries`)
  expect(shown.body.data).toMatchObject([{ status: 'delivered', attempts: repeat(7, {}) }])
  await receiver.close()
})

test('a sink without a timer is replayed by publishing its event again, for that target alone', async () => {
  const event = finished()
  const delivered = { tenant: 'contoso', requestId: event.subject, event, target: { type: 'event-hubs' as const } }
  await webhooks.deliveries.settled(delivered, { status: 'failed', at: Date.now(), ms: 1, error: 'away' })
  const row = await webhooks.deliveries.find(delivered)
  expect((await call(admin, 'POST', `/v1/requests/${event.subject}/deliveries/${row?.id}/replay`)).status).toBe(202)
  expect(results).toMatchObject([
    { body: event, properties: { kind: 'replay', sink_event_hubs: true, deliver: '[{"type":"event-hubs"}]' } },
  ])
  // Registered endpoints are not told a second time.
  const receiver = await startReceiver()
  const created = await call(admin, 'POST', '/v1/webhook-endpoints', { url: receiver.url })
  await webhooks.publish(event, [{ type: 'event-hubs' }], { kind: 'replay' })
  const last = finished()
  await webhooks.publish(last)
  await eventually(() => receiver.of(last.id).length === 1)
  expect(receiver.of(event.id)).toEqual([])
  await call(admin, 'DELETE', `/v1/webhook-endpoints/${String(created.body.id)}`)
  await receiver.close()
})

test.each([
  ['POST', '/v1/deliveries/replay', { since: 'yesterday' }, 'since'],
  ['POST', '/v1/deliveries/replay', {}, 'since'],
  ['GET', '/v1/deliveries?limit=1000', undefined, 'limit'],
  ['GET', '/v1/deliveries?status=lost', undefined, 'status'],
  ['GET', '/v1/deliveries?after=nonsense', undefined, 'after'],
])('%s %s %j is refused', async (method, path, body, param) => {
  expect(await call(admin, method, path, body)).toMatchObject({ status: 400, body: { error: { param } } })
})

test('what is not there is a 404, what is under way a 409', async () => {
  const event = finished()
  expect((await call(admin, 'POST', `/v1/requests/${event.subject}/deliveries/none/replay`)).status).toBe(404)
  expect((await call(admin, 'GET', `/v1/requests/${event.subject}/deliveries`)).status).toBe(404)
  const target = { type: 'webhook' as const, url: 'https://example.com/' }
  const row = await webhooks.deliveries.open(
    { tenant: 'contoso', requestId: event.subject, event, target },
    Date.now() + 600_000,
  )
  expect((await call(admin, 'POST', `/v1/requests/${event.subject}/deliveries/${row.id}/replay`)).status).toBe(409)
})
