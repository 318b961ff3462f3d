import type { Metrics } from '@sluice/telemetry'

export type DeliveryMetrics = ReturnType<typeof createDeliveryMetrics>

/** What the sinks count; failure rates come from `attempts`. */
export const createDeliveryMetrics = (metrics: Metrics) => ({
  attempts: metrics.counter({
    name: 'sluice_delivery_attempts_total',
    help: 'Attempts to deliver an event',
    labels: ['sink', 'outcome'],
  }),
  latency: metrics.histogram({
    name: 'sluice_delivery_latency_seconds',
    help: 'From the event to its arrival at the target',
    labels: ['sink'],
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3600],
  }),
  pending: metrics.gauge({
    name: 'sluice_webhooks_pending',
    help: 'Webhook deliveries that wait for an attempt, over all notifiers',
  }),
  oldest: metrics.gauge({
    name: 'sluice_sink_oldest_seconds',
    help: "Age of the oldest event in a sink's subscription; as `webhook-attempts`, of the longest overdue attempt",
    labels: ['sink'],
  }),
  lag: metrics.gauge({
    name: 'sluice_sink_lag_seconds',
    help: 'How long the event that a sink took last had waited in its subscription',
    labels: ['sink'],
  }),
  coalesced: metrics.counter({
    name: 'sluice_signalr_deltas_coalesced_total',
    help: 'Deltas that went to SignalR together with an earlier one',
  }),
  dropped: metrics.counter({
    name: 'sluice_signalr_deltas_dropped_total',
    help: 'Deltas that were not sent to SignalR; their watchers see a gap',
  }),
})
