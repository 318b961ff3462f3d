import type { Metrics } from '@sluice/telemetry'

export type BatchMetrics = ReturnType<typeof createBatchMetrics>

export function createBatchMetrics(metrics: Metrics) {
  return {
    lines: metrics.counter({
      name: 'sluice_batch_lines_total',
      help: 'Lines of batches by how they were answered.',
      labels: ['how'],
    }),
    costUsd: metrics.counter({ name: 'sluice_batch_cost_usd_total', help: 'Paid for answers at batch price.' }),
    savedUsd: metrics.counter({
      name: 'sluice_batch_saved_usd_total',
      help: 'What the same answers would have cost more online.',
    }),
    wasteUsd: metrics.counter({
      name: 'sluice_batch_waste_usd_total',
      help: 'Paid for and not delivered: abandoned with a lost region, or answered twice.',
    }),
    parts: metrics.counter({
      name: 'sluice_batch_parts_total',
      help: 'Regional parts by what became of them.',
      labels: ['region', 'end'],
    }),
    batches: metrics.counter({ name: 'sluice_batch_batches_total', help: 'Batches by their end.', labels: ['end'] }),
  }
}
