import { type Admission, assumeIdle, createAdmission, quotaOf } from '@sluice/admission'
import { AppError } from '@sluice/errors'
import { systemClock } from '@sluice/resilience'
import { createLogger } from '@sluice/telemetry'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { adminDeploymentRoutes } from '../../services/ingest/src/admin-deployments.ts'
import { answerError } from '../../services/ingest/src/answer-error.ts'
import { createRoutes } from '../../services/ingest/src/routes.ts'
import { deploymentOn } from './model-twin.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

const deployments = ['gpt-north', 'gpt-south'].map((name) =>
  deploymentOn({ url: 'http://127.0.0.1:1' }, name, { tier: 'large', max_concurrency: 5 }),
)
const logger = createLogger({ service: 'test', destination: { write: () => undefined } })

let redis: PrivateRedis
beforeAll(async () => {
  redis = await startPrivateRedis()
})
afterAll(() => redis.close())

let app: FastifyInstance
let url: string
/** One admission behind the door, one in a worker: they share nothing but Redis. */
let door: Admission
let worker: Admission
beforeEach(async () => {
  await redis.client.flushall()
  await assumeIdle(redis.client)
  door = createAdmission({ redis: redis.client, clock: systemClock, logger })
  worker = createAdmission({ redis: redis.connect(), clock: systemClock, logger })
  app = Fastify()
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_, body, done) => done(null, body))
  app.setErrorHandler((error, request, reply) => answerError(logger, error as never, request, reply))
  const routes = createRoutes(app, async (request, scope) => {
    if (request.headers.authorization !== 'Bearer operator')
      throw new AppError('forbidden', `This key may not ${scope}.`)
    return { tenant: 'local', scopes: ['admin'], platform: true } as never
  })
  adminDeploymentRoutes(routes, { config: { deployments }, admission: door, clock: systemClock })
  url = await app.listen({ host: '127.0.0.1', port: 0 })
})
afterEach(async () => {
  door.close()
  worker.close()
  await app.close()
})

const call = async (method: 'GET' | 'POST', path: string, body?: object | string, key = 'operator') => {
  const payload = typeof body === 'object' ? JSON.stringify(body) : body
  const answer = await fetch(`${url}/admin/deployments${path}`, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(payload === undefined ? {} : { body: payload }),
  })
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
}
const states = async () => (await call('GET', '')).body.data as Record<string, unknown>[]
const reserve = async (name = 'gpt-north') => {
  const candidates = deployments.filter((one) => one.name === name).map(quotaOf)
  const room = await worker.reserve({ candidates, tokens: 100 })
  return { room, kind: room.kind, reason: room.kind === 'later' ? room.reason : undefined }
}

describe('the deployments', () => {
  it('are listed as all workers see them', async () => {
    const { room } = await reserve()
    expect(await states()).toMatchObject([
      {
        name: 'gpt-north',
        tier: 'large',
        region: 'swedencentral',
        kind: 'standard',
        breaker: 'closed',
        concurrency: { in_use: 1, max: 5 },
        tokens: { used: 100, per_minute: 1_000_000 },
        drained: null,
      },
      { name: 'gpt-south', concurrency: { in_use: 0 } },
    ])
    if (room.kind === 'granted') room.end({ outcome: 'ok', ms: 1 })
  })

  it('are taken out of service for every worker, and put back', async () => {
    expect(await call('POST', '/gpt-north/drain', { reason: 'new GPU driver' })).toEqual({
      status: 200,
      body: { name: 'gpt-north', drained: { reason: 'new GPU driver', until: null } },
    })
    expect(await reserve()).toMatchObject({ kind: 'later', reason: 'drained' })
    expect((await reserve('gpt-south')).kind).toBe('granted')
    expect((await states())[0]).toMatchObject({ drained: { reason: 'new GPU driver', until: null } })
    expect(await call('POST', '/gpt-north/undrain')).toMatchObject({ status: 200, body: { drained: null } })
    expect((await reserve()).kind).toBe('granted')
    expect((await states())[0]).toMatchObject({ drained: null })
  })

  it('come back by themselves when that was asked for', async () => {
    const { body } = await call('POST', '/gpt-north/drain', { until_seconds: 3_600 })
    const { until } = body.drained as { until: string }
    expect(Date.parse(until) - Date.now()).toBeGreaterThan(3_500_000)
    expect((await states())[0]).toMatchObject({ drained: { reason: 'operator', until } })
  })

  it('need no body', async () => {
    expect(await call('POST', '/gpt-south/drain')).toMatchObject({
      status: 200,
      body: { drained: { reason: 'operator' } },
    })
  })

  it.each([
    ['an unknown deployment', '/nowhere/drain', {}, 404, 'not_found'],
    ['an unknown one to put back', '/nowhere/undrain', undefined, 404, 'not_found'],
    ['a field that does not exist', '/gpt-north/drain', { forever: true }, 400, 'invalid_line'],
    ['no time at all', '/gpt-north/drain', { until_seconds: 0 }, 400, 'invalid_line'],
    ['half a JSON', '/gpt-north/drain', '{"reason":', 400, 'invalid_json'],
  ])('refuse %s', async (_name, path, body, status, code) => {
    expect(await call('POST', path, body)).toMatchObject({ status, body: { error: { code } } })
    expect((await states()).every(({ drained }) => drained === null)).toBe(true)
  })

  it('are the platform’s operators’ alone', async () => {
    for (const [method, path] of [
      ['GET', ''],
      ['POST', '/gpt-north/drain'],
      ['POST', '/gpt-north/undrain'],
    ] as const) {
      expect((await call(method, path, undefined, 'tenant')).status).toBe(403)
    }
    expect((await states())[0]).toMatchObject({ drained: null })
  })
})
