import type { Deployment, Price, RequestBody, Usage } from '@sluice/contracts'

/** Reads the tokens of an answer of any endpoint; what it does not say counts as 0. */
export function readUsage(body: unknown): Usage {
  const usage = objectOf(objectOf(body).usage)
  const input = objectOf(usage.prompt_tokens_details ?? usage.input_tokens_details)
  const output = objectOf(usage.completion_tokens_details ?? usage.output_tokens_details)
  return {
    input_tokens: countOf(usage.prompt_tokens ?? usage.input_tokens),
    cached_tokens: countOf(input.cached_tokens),
    output_tokens: countOf(usage.completion_tokens ?? usage.output_tokens),
    reasoning_tokens: countOf(output.reasoning_tokens),
  }
}

const charactersPerToken = 4
// English is read at about fifteen characters a second; OpenAI prices a minute of speech as 1,250 tokens.
const spokenCharactersPerSecond = 15
const audioTokensPerSecond = 1_250 / 60

/** What speech probably takes, by its text: an answer of sound does not say. */
export function estimatedSpeechUsage({ input, speed }: RequestBody): Usage {
  const characters = typeof input === 'string' ? input.length : 0
  const rate = typeof speed === 'number' && speed > 0 ? speed : 1
  const seconds = characters / spokenCharactersPerSecond / rate
  return {
    input_tokens: Math.ceil(characters / charactersPerToken),
    cached_tokens: 0,
    output_tokens: Math.ceil(seconds * audioTokensPerSecond),
    reasoning_tokens: 0,
  }
}

/**
 * US dollars for an answer. Cached tokens are part of the input and reasoning tokens part of the output; each cost their
 * own price where there is one.
 */
export function costUsd(price: Price, usage: Usage): number {
  const cached = Math.min(usage.cached_tokens, usage.input_tokens)
  const reasoning = Math.min(usage.reasoning_tokens, usage.output_tokens)
  const input = (usage.input_tokens - cached) * price.input + cached * (price.cached ?? price.input)
  const output = (usage.output_tokens - reasoning) * price.output + reasoning * (price.reasoning ?? price.output)
  return (input + output) / 1e6
}

/** Tokens of several answers together. */
export function addUsage(a: Usage, b: Usage): Usage {
  return {
    input_tokens: a.input_tokens + b.input_tokens,
    cached_tokens: a.cached_tokens + b.cached_tokens,
    output_tokens: a.output_tokens + b.output_tokens,
    reasoning_tokens: a.reasoning_tokens + b.reasoning_tokens,
  }
}

/** The model that an answer says it is from; undefined when it does not say. */
export const modelOf = (body: unknown): string | undefined => {
  const { model } = objectOf(body)
  return typeof model === 'string' && model !== '' ? model : undefined
}

/**
 * What an answer of a deployment is priced at. A model-router is priced by the model that the answer names; a version
 * at its end (`gpt-4.1-mini-2025-04-14`) belongs to the longest name that it begins with.
 * @param prices by model; a model that is not among them is priced as the deployment
 */
export function priceOf(
  deployment: Deployment,
  answeredBy: string | undefined,
  prices: Readonly<Record<string, Price>>,
): Price {
  if (deployment.kind !== 'model-router' || answeredBy === undefined) return deployment.price
  return priceOfModel(answeredBy, prices) ?? deployment.price
}

/** The price of a model, a version at its end left aside. */
export function priceOfModel(model: string, prices: Readonly<Record<string, Price>>): Price | undefined {
  if (Object.hasOwn(prices, model)) return prices[model]
  const known = Object.keys(prices).filter(
    (name) => model.startsWith(`${name}-`) && /^\d/.test(model.slice(name.length + 1)),
  )
  const longest = known.toSorted((a, b) => b.length - a.length)[0]
  return longest === undefined ? undefined : prices[longest]
}

const objectOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
const countOf = (value: unknown): number =>
  typeof value === 'number' && Number.isFinite(value) && value > 0 ? Math.floor(value) : 0
