import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { watchEvictions } from '@sluice/execution'
import { systemClock } from '@sluice/resilience'
import { createLogger } from '@sluice/telemetry'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { at, chat, type ExecutionBench, type Running, startExecutionBench } from './execution-fixture.ts'

let bench: ExecutionBench
let running: Running
let lines: string[]
let watcher: ReturnType<typeof watchEvictions>
beforeAll(async () => {
  const deployments = [
    { name: 'vllm', model: 'phi', kind: 'spot' as const },
    { name: 'paid', model: 'gpt-4.1' },
  ]
  bench = await startExecutionBench({ resources: [{ name: 'swedencentral', deployments }] })
})
afterAll(() => bench.close())

const spot = () => {
  const { url } = bench.twin
  const events = `${url}/r/swedencentral/metadata/scheduledevents?deployment=vllm`
  return at(bench.twin, 'vllm', 'swedencentral', {
    tier: 'small',
    kind: 'spot',
    // Any OpenAI-compatible server.
    endpoint: `${url}/r/swedencentral/v1`,
    spot: { scheduled_events_url: events },
  })
}
const paid = () => at(bench.twin, 'paid', 'swedencentral', { tier: 'small', kind: 'spot', weight: 1 })

beforeEach(async () => {
  lines = []
  running = await bench.start({ deployments: [spot(), paid()] })
  const logger = createLogger({ service: 'test', destination: { write: (line) => void lines.push(line) } })
  watcher = watchEvictions({
    deployments: [spot()],
    admission: running.admission,
    clock: systemClock,
    logger,
    intervalMs: 20,
  })
})
afterEach(async () => {
  watcher.stop()
  await running.close()
})

const evict = (noticeMs: number) =>
  bench.twin.post('evict', { resource: 'swedencentral', deployment: 'vllm', notice_ms: noticeMs })
const deployment = async () => (await running.done(chat('hi', { model: 'small' }))).decision.deployment

describe('a spot machine that is to be evicted', () => {
  it('gets no new calls from the notice on, in any worker', async () => {
    expect(await deployment()).toBe('vllm-swedencentral')
    watcher.start()
    await evict(30_000)
    await expect.poll(() => lines.join(), { timeout: 10_000 }).toContain('a spot machine is being evicted')
    const [state] = await running.admission.states([
      { name: 'vllm-swedencentral', tokensPerMinute: 1, requestsPerMinute: 1 },
    ])
    expect(state?.drained?.reason).toBe('preempt')
    expect(state?.drained?.untilMs).toBeGreaterThan(Date.now() + 4 * 60_000)
    for (let call = 0; call < 3; call++) expect(await deployment()).toBe('paid-swedencentral')
    // One notice is one order, however often it is read.
    expect(lines.filter((line) => line.includes('being evicted'))).toHaveLength(1)
  })

  it('has what was in flight run again elsewhere', async () => {
    await bench.twin.post('faults', { type: 'hang', deployment: 'vllm' })
    const pending = running.done(chat('hi', { model: 'small' }))
    await expect.poll(async () => (await bench.twin.calls()).length, { timeout: 10_000 }).toBe(1)
    await evict(1)
    await bench.twin.post('clock', { advanceMs: 10 })
    expect((await pending).decision).toMatchObject({
      deployment: 'paid-swedencentral',
      attempts: [{ code: 'model_unavailable' }, { status: 200 }],
    })
  })
})

it('gives up what is in flight when the machine goes without a word', async () => {
  watcher.stop()
  await running.close()
  let events: object[] = []
  let asked = 0
  const machine = createServer((request, response) => {
    if (request.method === 'GET') return void response.end(JSON.stringify({ Events: events }))
    asked++
    request.resume()
  })
  await new Promise<void>((resolve) => machine.listen(0, '127.0.0.1', resolve))
  const endpoint = `http://127.0.0.1:${(machine.address() as AddressInfo).port}`
  const silent = { ...spot(), endpoint: `${endpoint}/v1`, spot: { scheduled_events_url: endpoint } }
  const evictionOf = (name: string) => watcher.evictionOf(name)
  running = await bench.start({ deployments: [silent, paid()], evictionOf })
  const { admission } = running
  const logger = createLogger({ service: 'test', destination: { write: (line) => void lines.push(line) } })
  watcher = watchEvictions({ deployments: [silent], admission, clock: systemClock, logger, intervalMs: 20 })
  watcher.start()
  try {
    const pending = running.done(chat('hi', { model: 'small' }))
    await expect.poll(() => asked, { timeout: 10_000 }).toBe(1)
    const NotBefore = new Date(Date.now() + 100).toUTCString()
    events = [{ EventId: 'e', EventType: 'Preempt', NotBefore, Resources: [] }]
    expect((await pending).decision).toMatchObject({
      deployment: 'paid-swedencentral',
      attempts: [{ code: 'model_unavailable' }, { status: 200 }],
    })
    // What is asked after that is not given up with it.
    expect(watcher.evictionOf(silent.name)?.aborted).toBe(false)
    expect(watcher.evictionOf('paid-swedencentral')).toBeUndefined()
  } finally {
    machine.closeAllConnections()
    await new Promise((resolve) => machine.close(resolve))
  }
})

it('says once that an address is away, and goes on asking', async () => {
  watcher.stop()
  const logger = createLogger({ service: 'test', destination: { write: (line) => void lines.push(line) } })
  const gone = { ...spot(), spot: { scheduled_events_url: 'http://127.0.0.1:1/metadata/scheduledevents' } }
  let asked = 0
  const clock = {
    ...systemClock,
    setTimeout: (fn: () => void, ms: number) => {
      if (ms === 21) asked++
      return systemClock.setTimeout(fn, ms)
    },
  }
  watcher = watchEvictions({ deployments: [gone], admission: running.admission, clock, logger, intervalMs: 21 })
  watcher.start()
  await expect.poll(() => asked, { timeout: 10_000 }).toBeGreaterThan(3)
  expect(lines.filter((line) => line.includes('cannot be read'))).toHaveLength(1)
})
