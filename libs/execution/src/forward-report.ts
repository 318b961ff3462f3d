import type { CachedAnswer } from '@sluice/cache'
import type { Attempt, Deployment, Usage } from '@sluice/contracts'
import type { AppError } from '@sluice/errors'
import type { Route } from '@sluice/routing'
import type { ForwardReport } from './forward-types.ts'

/** What came of a request that was forwarded. A class: an object with a getter of its own is dear to make. */
export class ForwardedReport implements ForwardReport {
  readonly outcome: ForwardReport['outcome']
  readonly score: number | null
  readonly attempts: readonly Attempt[]
  readonly deployment: Deployment | undefined
  readonly usage: Usage | undefined
  readonly costUsd: number
  readonly waitedMs: number
  readonly error: AppError | undefined
  readonly #route: Route

  constructor(
    run: { route: Route; attempts: readonly Attempt[]; waiting: { waitedMs: number } },
    outcome: ForwardReport['outcome'],
    deployment?: Deployment,
    usage?: Usage,
    costUsd = 0,
    error?: AppError,
  ) {
    this.outcome = outcome
    this.score = run.route.score
    this.attempts = run.attempts
    this.deployment = deployment
    this.usage = usage
    this.costUsd = costUsd
    this.waitedMs = run.waiting.waitedMs
    this.error = error
    this.#route = run.route
  }

  get why(): string {
    return this.#route.why
  }
}

/** What came of a request that was answered from the cache. */
export const cacheReport = ({ model, usage }: CachedAnswer): ForwardReport => ({
  outcome: 'answered',
  score: null,
  why: `answered before by ${model}`,
  attempts: [],
  usage,
  costUsd: 0,
  waitedMs: 0,
})

/** @param status what the deployment answered; 0 when it did not */
export function attemptOf({ name, region }: Deployment, status: number, ms: number, failure?: AppError): Attempt {
  const attempt: Attempt = { deployment: name, region, status, ms: Math.round(ms * 10) / 10 }
  if (failure !== undefined) attempt.code = failure.code
  return attempt
}
