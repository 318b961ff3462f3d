import type { Grant } from '@sluice/admission'
import { type Attempt, type Decision, type Deployment, emptyUsage, type Usage } from '@sluice/contracts'
import type { AppError } from '@sluice/errors'
import { addUsage, type ModelAnswer } from '@sluice/models'
import type { Route } from '@sluice/routing'
import type { LaterReason, Outcome } from './execution-types.ts'

/** An answer of a deployment and what it cost. */
export interface Answered {
  deployment: Deployment
  /** The model that answered: a model-router's choice, else the deployment's. */
  model: string
  answer: ModelAnswer
  costUsd: number
  /** Of the tenant's and the key's limits, when it was called. */
  tenantLeft: Grant['tenantLeft']
}

type Done = Extract<Outcome, { kind: 'done' }>

/** What happened in one run so far, and the outcomes that it can end with. */
export class Journal {
  readonly attempts: Attempt[] = []
  cache: Decision['cache'] = 'off'
  #route: Route | undefined
  #remarks = ''
  #modelMs = 0
  #usage: Usage = emptyUsage
  #costUsd = 0

  /** What answers have cost so far. */
  get costUsd(): number {
    return this.#costUsd
  }

  /** Of all answers so far. */
  get usage(): Usage {
    return this.#usage
  }

  routed(route: Route): void {
    this.#route = route
  }

  /** Adds to the decision's `why`. */
  remark(text: string): void {
    this.#remarks += `; ${text}`
  }

  attempted(deployment: Deployment, status: number, ms: number, code?: string): void {
    const { name, region } = deployment
    this.#modelMs += ms
    const rounded = Math.round(ms * 10) / 10
    this.attempts.push({ deployment: name, region, status, ms: rounded, ...(code === undefined ? {} : { code }) })
  }

  paid({ answer, costUsd }: Answered): void {
    this.#usage = addUsage(this.#usage, answer.usage)
    this.#costUsd += costUsd
  }

  /** The last attempt's answer was judged. */
  judged(confidence: number): void {
    const last = this.attempts.at(-1)
    if (last !== undefined) last.confidence = confidence
  }

  succeeded({ deployment, model, answer, costUsd }: Answered, alwaysLargeUsd: number, escalated: boolean): Done {
    const decision = { ...this.#decision(deployment), model, escalated }
    return {
      ...this.#end(decision),
      status: 'succeeded',
      response: {
        status_code: answer.status,
        request_id: answer.requestId,
        body: answer.body,
        ...(answer.contentType === undefined ? {} : { content_type: answer.contentType }),
      },
      wasteUsd: Math.max(0, this.#costUsd - costUsd),
      alwaysLargeUsd,
    }
  }

  failed(error: AppError): Done {
    const { code, message, param } = error
    return { ...this.#end(this.#decision()), status: 'failed', error: { code, message, param: param ?? null } }
  }

  later(afterMs: number, reason: LaterReason): Outcome {
    return { kind: 'later', afterMs: Math.ceil(afterMs), reason, decision: this.#decision(), modelMs: this.#modelMs }
  }

  #end(decision: Decision): Done {
    return {
      kind: 'done',
      status: 'failed',
      response: null,
      error: null,
      decision,
      usage: this.#usage,
      costUsd: this.#costUsd,
      wasteUsd: this.#costUsd,
      alwaysLargeUsd: 0,
      modelMs: this.#modelMs,
    }
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
      why: `${route?.why ?? 'not routed'}${this.#remarks}`,
      attempts: this.attempts,
      cache: this.cache,
      escalated: false,
    }
  }
}
