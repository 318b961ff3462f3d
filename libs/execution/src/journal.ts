import { type Attempt, type Decision, type Deployment, emptyUsage, type Usage } from '@sluice/contracts'
import type { AppError } from '@sluice/errors'
import type { ModelAnswer } from '@sluice/models'
import type { Route } from '@sluice/routing'
import type { Outcome } from './execution-types.ts'

/** What happened in one run so far, and the outcomes that it can end with. */
export class Journal {
  readonly attempts: Attempt[] = []
  #route: Route | undefined
  #modelMs = 0

  routed(route: Route): void {
    this.#route = route
  }

  attempted(deployment: Deployment, status: number, ms: number, code?: string): void {
    const { name, region } = deployment
    this.#modelMs += ms
    const rounded = Math.round(ms * 10) / 10
    this.attempts.push({ deployment: name, region, status, ms: rounded, ...(code === undefined ? {} : { code }) })
  }

  succeeded(deployment: Deployment, answer: ModelAnswer, cost: { costUsd: number; alwaysLargeUsd: number }): Outcome {
    const response = { status_code: answer.status, request_id: answer.requestId, body: answer.body }
    return this.#done('succeeded', { response, error: null, usage: answer.usage, ...cost }, deployment)
  }

  failed(error: AppError): Outcome {
    const { code, message, param } = error
    const nothing = { response: null, usage: emptyUsage, costUsd: 0, alwaysLargeUsd: 0 }
    return this.#done('failed', { ...nothing, error: { code, message, param: param ?? null } })
  }

  later(afterMs: number, reason: 'full' | 'failing'): Outcome {
    return { kind: 'later', afterMs: Math.ceil(afterMs), reason, decision: this.#decision(), modelMs: this.#modelMs }
  }

  #done(
    status: 'succeeded' | 'failed',
    end: Pick<Outcome & { kind: 'done' }, 'response' | 'error' | 'costUsd' | 'alwaysLargeUsd'> & { usage: Usage },
    deployment?: Deployment,
  ): Outcome {
    return { kind: 'done', status, ...end, decision: this.#decision(deployment), modelMs: this.#modelMs }
  }

  /** Without an answering deployment: what was planned. */
  #decision(deployment?: Deployment): Decision {
    const route = this.#route
    return {
      score: route?.score ?? null,
      tier: (deployment ? deployment.tier : route?.tier) ?? null,
      model: deployment?.model ?? route?.model ?? null,
      deployment: deployment?.name ?? null,
      region: deployment?.region ?? null,
      why: route?.why ?? 'not routed',
      attempts: this.attempts,
      cache: 'off',
      escalated: false,
    }
  }
}
