import type { Deployment, Usage } from '@sluice/contracts'
import type { Metrics } from '@sluice/telemetry'
import type { LaterReason } from './execution-types.ts'

/** What execution counts, by deployment. */
export function createCallMetrics(metrics: Metrics) {
  const calls = metrics.counter({
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
  const tokens = metrics.counter({
    name: 'sluice_model_tokens_total',
    help: 'Tokens as deployments counted them; cached ones are part of the input',
    labels: ['deployment', 'kind'],
  })
  const cost = metrics.counter({
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
      calls.inc({ deployment: deployment.name, outcome })
      seconds.observe({ deployment: deployment.name }, ms / 1000)
    },
    spent({ name }: Deployment, usage: Usage, costUsd: number) {
      tokens.inc({ deployment: name, kind: 'input' }, usage.input_tokens)
      tokens.inc({ deployment: name, kind: 'cached' }, usage.cached_tokens)
      tokens.inc({ deployment: name, kind: 'output' }, usage.output_tokens)
      cost.inc({ deployment: name }, costUsd)
    },
    later(reason: LaterReason) {
      waits.inc({ reason })
    },
  }
}
