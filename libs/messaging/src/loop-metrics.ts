import type { Metrics } from '@sluice/telemetry'

const settlementLabels = ['complete', 'retry', 'dead-letter', 'defer', 'untouched', 'lost', 'failed'] as const
type SettlementLabel = (typeof settlementLabels)[number]

/** What a receive loop reports, labelled with its entity. */
export function createLoopMetrics(metrics: Metrics, entity: string) {
  const labels = ['entity'] as const
  const settled = metrics.counter({
    name: 'sluice_settled_total',
    help: 'Deliveries by what became of them; lost: the lock ran out, failed: the broker could not be told',
    labels: ['entity', 'settlement'],
  })
  // Resolved once: looking a series up by its labels for every delivery is not free.
  const series = (settlement: SettlementLabel) => [settlement, settled.labels({ entity, settlement })] as const
  const settlements = Object.fromEntries(settlementLabels.map(series)) as Record<
    SettlementLabel,
    ReturnType<typeof series>[1]
  >
  return {
    received: metrics
      .counter({ name: 'sluice_received_total', help: 'Deliveries taken from the broker', labels })
      .labels({ entity }),
    inFlight: metrics
      .gauge({ name: 'sluice_in_flight', help: 'Deliveries not yet settled', labels })
      .labels({ entity }),
    handlerSeconds: metrics
      .histogram({
        name: 'sluice_handler_seconds',
        help: 'From delivery to the end of the handler',
        labels,
        buckets: [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300],
      })
      .labels({ entity }),
    settled: (settlement: SettlementLabel) => settlements[settlement].inc(),
  }
}
