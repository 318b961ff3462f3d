import { createMetrics } from '@sluice/telemetry'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startHealthServer } from './health-server.ts'
import { Lifecycle, type LifecycleState } from './lifecycle.ts'

let state: LifecycleState = 'starting'
let ok = true
let server: Awaited<ReturnType<typeof startHealthServer>>

beforeAll(async () => {
  const ready = async () => ({ redis: { ok, ms: 1 } })
  server = await startHealthServer({
    host: '127.0.0.1',
    port: 0,
    state: () => state,
    ready,
    metrics: createMetrics('x'),
  })
})
afterAll(() => server.close())

const get = (path: string, method = 'GET') => fetch(`http://127.0.0.1:${server.port}${path}`, { method })

test.each([
  ['starting', true, 200, 503, 503],
  ['running', true, 200, 200, 200],
  ['running', false, 200, 503, 200],
  ['draining', true, 200, 503, 200],
  ['failed', true, 503, 503, 503],
] as const)(
  'while %s with checks ok %s: live %i, ready %i, startup %i',
  async (now, checksOk, live, ready, startup) => {
    state = now
    ok = checksOk
    expect((await get('/health/live')).status).toBe(live)
    expect((await get('/health/ready?verbose=1')).status).toBe(ready)
    expect((await get('/health/startup')).status).toBe(startup)
  },
)

test('readiness names the check that failed', async () => {
  state = 'running'
  ok = false
  expect(await (await get('/health/ready')).json()).toEqual({
    status: 'unready',
    checks: { redis: { ok: false, ms: 1 } },
  })
})

test('metrics are Prometheus text', async () => {
  const response = await get('/metrics')
  expect(response.headers.get('content-type')).toContain('text/plain')
  expect(await response.text()).toContain('process_cpu_seconds_total')
})

test('other paths and methods are refused', async () => {
  expect((await get('/health')).status).toBe(404)
  expect((await get('/health/live', 'POST')).status).toBe(405)
})

test('a taken port is an error, not a silent absence of probes', async () => {
  const options = { host: '127.0.0.1', port: server.port, state: () => state, ready: async () => ({}) }
  await expect(startHealthServer({ ...options, metrics: createMetrics('y') })).rejects.toThrow(/EADDRINUSE/)
})

test('a lifecycle only moves along its arrows', () => {
  const seen: string[] = []
  const lifecycle = new Lifecycle((entered) => seen.push(entered))
  expect(lifecycle.enter('stopped')).toBe(false)
  expect(lifecycle.enter('running')).toBe(true)
  expect(lifecycle.enter('running')).toBe(false)
  expect(lifecycle.enter('draining')).toBe(true)
  expect(lifecycle.enter('stopped')).toBe(true)
  expect(lifecycle.enter('failed')).toBe(false)
  expect([lifecycle.state, ...seen]).toEqual(['stopped', 'running', 'draining', 'stopped'])
})
