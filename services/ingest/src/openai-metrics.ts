import type { DeploymentUrl } from '@sluice/contracts'
import type { Metrics } from '@sluice/telemetry'

export interface DoorMetrics {
  /** @param outcome `answered`, `broken`, `aborted`, or `refused` when no answer began */
  ended(url: DeploymentUrl, outcome: string, status: number, ms: number): void
  /** @param bytes what is held of bodies, asked when the metrics are read */
  held(bytes: () => number): void
}

export function createDoorMetrics(metrics: Pick<Metrics, 'gauge' | 'histogram' | 'tally'>): DoorMetrics {
  const requests = metrics.tally({
    name: 'sluice_gateway_requests_total',
    help: 'Synchronous calls, by endpoint, outcome (answered, broken, aborted, refused) and HTTP status',
    labels: ['url', 'outcome', 'status'],
  })
  const seconds = metrics.histogram({
    name: 'sluice_gateway_request_seconds',
    help: 'Time from a synchronous call to the end of its answer',
    labels: ['url'],
    buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120],
  })
  return {
    ended(url, outcome, status, ms) {
      requests.add(1, url, outcome, String(status))
      seconds.observe({ url }, ms / 1000)
    },
    held(bytes) {
      metrics.gauge({
        name: 'sluice_gateway_held_bytes',
        help: 'Bytes of the bodies of requests that are held in memory; HELD_BODIES_LIMIT bounds them',
        collect: (gauge) => gauge.set(bytes()),
      })
    },
  }
}
