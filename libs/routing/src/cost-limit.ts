import type { Deployment, DeploymentUrl, RequestBody } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { type PromptShape, readShape } from './prompt-shape.ts'

/** The fields in which a caller limits an answer's tokens, by endpoint; the first is the one that Sluice sets. */
const maximumFields: Partial<Record<DeploymentUrl, readonly string[]>> = {
  '/v1/chat/completions': ['max_completion_tokens', 'max_tokens'],
  '/v1/responses': ['max_output_tokens'],
}
// Less output than this is no answer worth paying for; a cheaper deployment, or an error, is more use.
const leastOutputTokens = 256
const imageTokens = 765
const charactersPerToken = 4
// Tokens that mark where messages begin and end.
const promptFraming = 16
const turnFraming = 8
// Four characters a token is a guess that numbers, code and other scripts exceed.
const doubt = 1.25

/** What a call may cost before it is made. */
interface CostEstimate {
  /** US dollars for the prompt. */
  inputUsd: number
  /** US dollars for one token of output, of every choice. */
  perOutputTokenUsd: number
  /** Output tokens that the caller allows; undefined when not said. */
  maxOutputTokens: number | undefined
  /** Output tokens that the model can write at all. */
  modelMaximum: number
}

/** Prices a request on a deployment: the prompt by its characters, a quarter more for the doubt in that. */
function estimateCost({ price, max_output_tokens }: Deployment, shape: PromptShape, body: RequestBody): CostEstimate {
  const framing = promptFraming + shape.userTurns * turnFraming
  const inputTokens = Math.ceil((shape.chars / charactersPerToken) * doubt) + framing + shape.images * imageTokens
  const choices = typeof body.n === 'number' && body.n > 1 ? body.n : 1
  return {
    inputUsd: (inputTokens * price.input) / 1e6,
    perOutputTokenUsd: (choices * Math.max(price.output, price.reasoning ?? 0)) / 1e6,
    maxOutputTokens: shape.maxOutputTokens,
    modelMaximum: max_output_tokens,
  }
}

// What an answer without a stated maximum is expected to take, for budgets: they are corrected when it is there.
const usualOutputTokens = 512

/** US dollars that a request will probably take on a deployment, to be set aside before the call. */
export function expectedCostUsd(deployment: Deployment, body: RequestBody, url: DeploymentUrl): number {
  const { inputUsd, perOutputTokenUsd, maxOutputTokens } = estimateCost(deployment, readShape(body, url), body)
  return inputUsd + perOutputTokenUsd * Math.min(maxOutputTokens ?? usualOutputTokens, deployment.max_output_tokens)
}

/**
 * Output tokens that a limit pays for: undefined when it surely pays for everything that the caller allows, 0 when the
 * call does not fit. A maximum that the caller set is never lowered: the answer that he sized would be cut.
 */
function affordableOutput(estimate: CostEstimate, limitUsd: number): number | undefined {
  const { inputUsd, perOutputTokenUsd, maxOutputTokens, modelMaximum } = estimate
  const left = limitUsd - inputUsd
  if (left < 0) return 0
  if (perOutputTokenUsd === 0) return undefined
  const tokens = Math.floor(left / perOutputTokenUsd)
  if (maxOutputTokens !== undefined) return tokens >= maxOutputTokens ? undefined : 0
  if (tokens >= modelMaximum) return undefined
  return tokens >= leastOutputTokens ? tokens : 0
}

/** {@link affordableOutput} of a request on a deployment. */
export const outputCap = (deployment: Deployment, body: RequestBody, url: DeploymentUrl, limitUsd: number) =>
  affordableOutput(estimateCost(deployment, readShape(body, url), body), limitUsd)

/** The deployments on which a request fits what it may cost, and how much each may then write. */
interface Affordable {
  deployments: readonly Deployment[]
  outputCaps: ReadonlyMap<string, number>
}

/**
 * Leaves out what a request's `max_cost_usd` does not pay for.
 * @param limitUsd what is left of it; undefined: no limit
 * @throws AppError `cost_limit` naming the cheapest possible price when nothing is left
 */
export function withinCost(
  deployments: readonly Deployment[],
  shape: PromptShape,
  body: RequestBody,
  limitUsd: number | undefined,
): Affordable {
  const outputCaps = new Map<string, number>()
  if (limitUsd === undefined) return { deployments, outputCaps }
  const fitting = deployments.filter((deployment) => {
    const cap = affordableOutput(estimateCost(deployment, shape, body), limitUsd)
    if (cap !== undefined && cap > 0) outputCaps.set(deployment.name, cap)
    return cap !== 0
  })
  if (fitting.length === 0) {
    const least = Math.min(...deployments.map((deployment) => leastCost(estimateCost(deployment, shape, body))))
    throw new AppError(
      'cost_limit',
      `The request may cost ${least.toPrecision(3)} US dollars on the cheapest deployment that may take it, more than ${limitUsd}.`,
      { param: 'sluice.max_cost_usd' },
    )
  }
  return { deployments: fitting, outputCaps }
}

const leastCost = ({ inputUsd, perOutputTokenUsd, maxOutputTokens = leastOutputTokens }: CostEstimate): number =>
  inputUsd + perOutputTokenUsd * maxOutputTokens

/** The body with the answer limited to `cap` tokens, where the endpoint has such a limit. */
export function cappedBody(body: RequestBody, url: DeploymentUrl, cap: number | undefined): RequestBody {
  const field = maximumFields[url]?.[0]
  if (cap === undefined || field === undefined) return body
  return { ...body, [field]: cap }
}
