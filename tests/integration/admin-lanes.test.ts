import { AppError } from '@sluice/errors'
import { createLaneStates, type Parking } from '@sluice/parking'
import { systemClock } from '@sluice/resilience'
import type { Cosmos } from '@sluice/storage'
import { createLogger } from '@sluice/telemetry'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { adminLaneRoutes } from '../../services/ingest/src/admin-lanes.ts'
import { answerError } from '../../services/ingest/src/answer-error.ts'
import { createRoutes } from '../../services/ingest/src/routes.ts'
import { lanes, ParkingFixture } from './parking-fixture.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'
import { startStorage, type StandIns } from './storage-stand-ins.ts'

const logger = createLogger({ service: 'test', level: 'silent' })

let stores: StandIns
let redis: PrivateRedis
let cosmos: Cosmos
let app: FastifyInstance
let url: string
let fixture: ParkingFixture
let parking: Parking
beforeAll(async () => {
  ;[stores, redis] = await Promise.all([startStorage(), startPrivateRedis()])
  cosmos = await stores.database()
  fixture = new ParkingFixture(redis)
  parking = fixture.open()
  app = Fastify()
  app.setErrorHandler((error, request, reply) => answerError(logger, error as never, request, reply))
  const routes = createRoutes(app, async (request, scope) => {
    if (request.headers.authorization === 'Bearer operator' && scope === 'platform') {
      return { tenant: 'local', scopes: ['admin'], platform: true } as never
    }
    throw new AppError('forbidden', `This key may not ${scope}.`)
  })
  const laneStates = createLaneStates({ cosmos, clock: systemClock })
  adminLaneRoutes(routes, { config: { lanes }, parking, laneStates, clock: systemClock, logger })
  url = await app.listen({ host: '127.0.0.1', port: 0 })
})
beforeEach(async () => {
  await redis.client.flushall()
})
afterAll(async () => {
  await app.close()
  await stores.stop()
  await redis.close()
})

const call = async (method: 'GET' | 'POST', path: string, key = 'operator') => {
  const answer = await fetch(`${url}/admin/lanes${path}`, { method, headers: { authorization: `Bearer ${key}` } })
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
}
const stored = async (lane: string) =>
  (await createLaneStates({ cosmos, clock: systemClock }).all()).find(({ id }) => id === lane)

it('shows what waits in each lane, since when and for what', async () => {
  const [first] = await fixture.park(parking, 2, { lane: 'bulk', tokens: 50 })
  await fixture.park(parking, 1, { lane: 'bulk', class: 'b' })
  const { status, body } = await call('GET', '')
  expect(status).toBe(200)
  const data = body.data as { name: string }[]
  expect(data.map(({ name }) => name)).toEqual(['interactive', 'standard', 'bulk'])
  expect(data[2]).toMatchObject({
    paused: false,
    full: false,
    weight: 1,
    waiting: {
      requests: 3,
      tokens: 200,
      oldest: new Date(first?.acceptedMs ?? 0).toISOString(),
      by_class: { a: 2, b: 1 },
    },
    purged_until: null,
  })
})

it('pauses and resumes a lane, for the workers at once and for good', async () => {
  expect(await call('POST', '/bulk/pause')).toMatchObject({ status: 200, body: { name: 'bulk', paused: true } })
  expect((await parking.look()).get('bulk')?.paused).toBe(true)
  expect(await stored('bulk')).toMatchObject({ paused: true })
  expect(await call('POST', '/bulk/pause')).toMatchObject({ status: 200, body: { paused: true } })
  expect(await call('POST', '/bulk/resume')).toMatchObject({ status: 200, body: { paused: false } })
  expect((await parking.look()).get('bulk')?.paused).toBe(false)
  expect(await stored('bulk')).toMatchObject({ paused: false })
})

it('purges what was accepted until now, and leaves a pause as it is', async () => {
  await call('POST', '/standard/pause')
  const before = Date.now()
  const { body } = await call('POST', '/standard/purge')
  expect(body.paused).toBe(true)
  expect(Date.parse(String(body.purged_until))).toBeGreaterThanOrEqual(before)
  expect(await stored('standard')).toMatchObject({ paused: true, purged_until: body.purged_until })
})

it.each(['pause', 'resume', 'purge'])('%s: refuses a stranger and knows no other lane', async (action) => {
  expect(await call('POST', `/bulk/${action}`, 'tenant')).toMatchObject({ status: 403 })
  expect(await call('POST', `/constructor/${action}`)).toMatchObject({
    status: 404,
    body: { error: { code: 'not_found', param: 'lane' } },
  })
  expect(await call('GET', '', 'tenant')).toMatchObject({ status: 403 })
})
