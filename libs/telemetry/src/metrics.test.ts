import { expect, test } from 'vitest'
import { createMetrics } from './index.ts'

test('counters, gauges and histograms are rendered with the service as a label', async () => {
  const metrics = createMetrics('router-worker')
  metrics
    .counter({ name: 'sluice_settled_total', help: 'x', labels: ['settlement'] })
    .inc({ settlement: 'complete' }, 2)
  metrics.gauge({ name: 'sluice_in_flight', help: 'x', collect: (gauge) => gauge.set(7) })
  metrics.histogram({ name: 'sluice_handler_seconds', help: 'x', buckets: [1, 2] }).observe(1.5)
  const { contentType, text } = await metrics.render()
  expect(contentType).toContain('text/plain')
  expect(text).toContain('sluice_settled_total{settlement="complete",service="router-worker"} 2')
  expect(text).toContain('sluice_in_flight{service="router-worker"} 7')
  expect(text).toContain('sluice_handler_seconds_bucket{le="2",service="router-worker"} 1')
  expect(text).toContain('process_cpu_seconds_total')
})

test('asking twice for a name gives the same metric; two services do not share it', async () => {
  const metrics = createMetrics('a')
  const other = createMetrics('b')
  const options = { name: 'sluice_things_total', help: 'x' }
  metrics.counter(options).inc()
  metrics.counter(options).inc()
  other.counter(options).inc()
  expect((await metrics.render()).text).toContain('sluice_things_total{service="a"} 2')
  expect((await other.render()).text).toContain('sluice_things_total{service="b"} 1')
})

test('an undeclared label is refused instead of becoming a new series', () => {
  const counter = createMetrics('a').counter<string>({ name: 'sluice_x_total', help: 'x', labels: ['lane'] })
  expect(() => counter.inc({ tenant: 'contoso' })).toThrow(/label/)
})

test('a tally is up to date whenever it is rendered, and shares its series with a counter of that name', async () => {
  const metrics = createMetrics('a')
  const options = { name: 'sluice_calls_total', help: 'x', labels: ['deployment', 'outcome'] }
  const calls = metrics.tally(options)
  calls.add(1, 'east', 'ok')
  calls.add(2, 'east', 'ok')
  calls.add(1, 'east', 'failed')
  calls.add(0, 'west', 'ok')
  metrics.tally(options).add(1, 'east', 'failed')
  metrics.counter(options).inc({ deployment: 'east', outcome: 'ok' })
  const of = async (deployment: string, outcome: string) =>
    new RegExp(`deployment="${deployment}",outcome="${outcome}",service="a"} (\\d+)`).exec(
      (await metrics.render()).text,
    )?.[1]
  expect(await of('east', 'ok')).toBe('4')
  expect(await of('east', 'failed')).toBe('2')
  expect(await of('west', 'ok')).toBe('0')
  calls.add(1, 'west', 'ok')
  expect(await of('west', 'ok')).toBe('1')
})

test('series of a tally are told apart by every label', async () => {
  const metrics = createMetrics('a')
  const requests = metrics.tally({ name: 'sluice_x_total', help: 'x', labels: ['url', 'outcome', 'status'] })
  requests.add(1, '/v1', 'answered', '200')
  requests.add(1, '/v1', 'answered', '201')
  requests.add(1, '/v1', 'refused', '200')
  requests.add(1, '/v2', 'answered', '200')
  const { text } = await metrics.render()
  expect(text.match(/^sluice_x_total\{.*\} 1$/gm)).toHaveLength(4)
})
