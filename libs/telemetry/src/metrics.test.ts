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
