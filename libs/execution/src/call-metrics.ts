import type { Deployment, Usage } from '@sluice/contracts'
import type { Metrics } from '@sluice/telemetry'
import type { LaterReason } from './execution-types.ts'

/** What execution counts, by deployment. */
export function createCallMetrics(metrics: Metrics) {
  const calls = metrics.tally({
    name: 'sluice_model_calls_total',
    help: 'Calls of deployments, by outcome: ok or an error code',
    labels: ['deployment', 'outcome'],
  })
  const seconds = metrics.histogram({
    name: 'sluice_model_call_seconds',
    help: 'Duration of calls of deployments',
    labels: ['deployment'],
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120],
  })
  const tokens = metrics.tally({
    name: 'sluice_model_tokens_total',
    help: 'Tokens as deployments counted them; cached ones are part of the input',
    labels: ['deployment', 'kind'],
  })
  const cost = metrics.tally({
    name: 'sluice_model_cost_usd_total',
    help: 'Cost of answers in US dollars',
    labels: ['deployment'],
  })
  const waits = metrics.counter({
    name: 'sluice_execution_later_total',
    help: 'Runs that ended without a call that counts: quotas full, or every deployment failing',
    labels: ['reason'],
  })
  const cascades = metrics.counter({
    name: 'sluice_execution_cascades_total',
    help: 'Cascades that ended with an answer: escalated, or trusted at once',
    labels: ['outcome'],
  })
  return {
    cascaded(escalated: boolean) {
      cascades.inc({ outcome: escalated ? 'escalated' : 'trusted' })
    },
    called(deployment: Deployment, outcome: string, ms: number) {
      calls.add(1, deployment.name, outcome)
      seconds.observe({ deployment: deployment.name }, ms / 1000)
    },
    spent({ name }: Deployment, usage: Usage, costUsd: number) {
      tokens.add(usage.input_tokens, name, 'input')
      tokens.add(usage.cached_tokens, name, 'cached')
      tokens.add(usage.output_tokens, name, 'output')
      cost.add(costUsd, name)
    },
    later(reason: LaterReason) {
      waits.inc({ reason })
    },
  }
}
