import type { Metrics } from '@sluice/telemetry'
import type { LocalView } from './local-view.ts'

/** A wait shorter than this counts as this long where an estimate's error is set against it. */
const shortestWaitMs = 1_000

export function createParkingMetrics(metrics: Metrics, view: LocalView) {
  const labels = ['lane'] as const
  metrics.gauge({
    name: 'sluice_parking_rows',
    help: 'Requests that wait for capacity, as this worker last heard',
    labels,
    collect: (gauge) => {
      for (const [lane, { rows }] of view.all) gauge.set({ lane }, rows)
    },
  })
  const tries = metrics.counter({
    name: 'sluice_parking_tries_total',
    help: 'Tries of waiting requests: taken, or later when there was no room yet',
    labels: ['lane', 'outcome'],
  })
  const seconds = metrics.histogram({
    name: 'sluice_parking_wait_seconds',
    help: 'From parking to the call',
    labels,
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800],
  })
  const error = metrics.histogram({
    name: 'sluice_parking_eta_error_ratio',
    help: 'How far the estimate made at parking was off, as a part of the wait (a second at least)',
    labels,
    buckets: [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2, 5],
  })
  return {
    tried: (lane: string, outcome: 'taken' | 'later') => tries.inc({ lane, outcome }),
    waited: (lane: string, waitedMs: number, etaMs: number | undefined) => {
      seconds.observe({ lane }, waitedMs / 1000)
      if (etaMs !== undefined) {
        error.observe({ lane }, Math.abs(waitedMs - etaMs) / Math.max(shortestWaitMs, waitedMs, 1))
      }
    },
  }
}
