import type { Deployment, Usage } from '@sluice/contracts'

/** Reads the tokens of an answer of any endpoint; what it does not say counts as 0. */
export function readUsage(body: unknown): Usage {
  const usage = objectOf(objectOf(body).usage)
  const details = objectOf(usage.prompt_tokens_details ?? usage.input_tokens_details)
  return {
    input_tokens: countOf(usage.prompt_tokens ?? usage.input_tokens),
    cached_tokens: countOf(details.cached_tokens),
    output_tokens: countOf(usage.completion_tokens ?? usage.output_tokens),
  }
}

/** US dollars for an answer. Cached tokens are part of the input and cost their own price where there is one. */
export function costUsd(price: Deployment['price'], usage: Usage): number {
  const cached = Math.min(usage.cached_tokens, usage.input_tokens)
  const input = (usage.input_tokens - cached) * price.input + cached * (price.cached ?? price.input)
  return (input + usage.output_tokens * price.output) / 1e6
}

const objectOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
const countOf = (value: unknown): number =>
  typeof value === 'number' && Number.isFinite(value) && value > 0 ? Math.floor(value) : 0
