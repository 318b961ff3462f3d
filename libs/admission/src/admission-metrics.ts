import type { Metrics } from '@sluice/telemetry'
import type { BreakerState, DeploymentState, RefusalReason } from './admission-types.ts'

const breakerStates: readonly BreakerState[] = ['closed', 'open', 'half_open', 'recovering']

/** What admission counts; the gauges are read from the view of this process when somebody looks. */
export function createAdmissionMetrics(metrics: Metrics, states: () => Iterable<DeploymentState>) {
  const gauge = (name: string, help: string, valueOf: (state: DeploymentState) => number | undefined) =>
    metrics.gauge({
      name,
      help,
      labels: ['deployment'],
      collect(gauge) {
        gauge.reset()
        for (const state of states()) {
          const value = valueOf(state)
          if (value !== undefined) gauge.set({ deployment: state.deployment }, value)
        }
      },
    })
  gauge(
    'sluice_admission_utilisation_ratio',
    "Used part of a deployment's tokens a minute, as all workers and its provider count it",
    ({ usedTokens, tokensPerMinute }) => usedTokens / tokensPerMinute,
  )
  gauge(
    'sluice_admission_slots_in_use',
    'Calls of a deployment in flight, over all workers',
    (state) => state.slotsInUse,
  )
  gauge(
    'sluice_admission_slots_limit',
    'Calls of a deployment that may be in flight now',
    ({ concurrencyLimit }) => concurrencyLimit,
  )
  gauge('sluice_admission_drained', '1 for a deployment that was taken out', ({ drained }) => (drained ? 1 : 0))
  metrics.gauge({
    name: 'sluice_admission_breaker_state',
    help: "1 for the state that a deployment's breaker is in",
    labels: ['deployment', 'state'],
    collect(gauge) {
      for (const { deployment, breaker } of states()) {
        for (const state of breakerStates) gauge.set({ deployment, state }, state === breaker ? 1 : 0)
      }
    },
  })
  const refusals = metrics.counter({
    name: 'sluice_admission_refusals_total',
    help: 'Reservations that found no room, by what was missing',
    labels: ['reason'],
  })
  const transitions = metrics.counter({
    name: 'sluice_admission_breaker_transitions_total',
    help: "Moves of a deployment's breaker, each counted by the one worker that caused it",
    labels: ['deployment', 'to'],
  })
  const ahead = metrics.counter({
    name: 'sluice_admission_ahead_calls_total',
    help: 'Calls for which room was reserved before they came: used, or given back',
    labels: ['end'],
  })
  return {
    reservedAhead(used: number, returned: number) {
      ahead.inc({ end: 'used' }, used)
      ahead.inc({ end: 'returned' }, returned)
    },
    refused(reason: RefusalReason) {
      refusals.inc({ reason })
    },
    moved(deployment: string, to: BreakerState) {
      transitions.inc({ deployment, to })
    },
  }
}
