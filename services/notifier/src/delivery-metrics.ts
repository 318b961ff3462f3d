import type { Metrics } from '@sluice/telemetry'

export type DeliveryMetrics = ReturnType<typeof createDeliveryMetrics>

/** What the sinks count: attempts by outcome, and how old a result is when it arrives. */
export const createDeliveryMetrics = (metrics: Metrics) => ({
  attempts: metrics.counter({
    name: 'sluice_delivery_attempts_total',
    help: 'Attempts to deliver a result',
    labels: ['sink', 'outcome'],
  }),
  latency: metrics.histogram({
    name: 'sluice_delivery_latency_seconds',
    help: 'From the stored result to its arrival at the target',
    labels: ['sink'],
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3600],
  }),
})
