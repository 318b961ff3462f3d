import { contentFiltered, contextLengthExceeded } from '../http/azure-error.ts'
import type { ActualTokens, Deployment, Estimate } from '../quotas/deployment.ts'
import { generate } from './generation.ts'
import type { Generation, GenerationRequest } from './generation.ts'
import { countPromptTokens, estimatePromptTokens } from './prompt.ts'
import { Draws } from './seeded-draw.ts'
import type { TwinCore } from '../twin.ts'

export interface ModelRun {
  generation: Generation
  usage: ActualTokens
  /** Real milliseconds until the first token and between tokens, jitter applied. */
  firstTokenMs: number
  perTokenMs: number
}

/** Azure's estimate of a call on its arrival: the prompt by its characters, plus the maximum output of every choice. */
export function estimateCall(deployment: Deployment, request: GenerationRequest): Estimate {
  const outputTokens = (request.maxTokens ?? deployment.settings.default_max_tokens) * request.choices
  return { promptTokens: estimatePromptTokens(request.prompt), outputTokens }
}

/**
 * Lets a deployment's model answer. Everything but the cached tokens depends on nothing but the settings, the request
 * and the seed.
 * @throws AzureError 400 content_filter or context_length_exceeded.
 */
export function runModel(twin: TwinCore, deployment: Deployment, request: GenerationRequest): ModelRun {
  const { settings } = deployment
  const { prompt } = request
  if (prompt.markers.filter?.where === 'prompt') throw contentFiltered(prompt.markers.filter.category)
  const promptTokens = countPromptTokens(prompt)
  const asked = request.maxTokens ?? 0
  if (promptTokens > settings.context_tokens) throw contextLengthExceeded(settings.context_tokens, promptTokens, 0)
  if (promptTokens + asked > settings.context_tokens)
    throw contextLengthExceeded(settings.context_tokens, promptTokens, asked)
  const generation = generate(settings, request)
  const scope = `${deployment.resource}/${settings.name}`
  const cachedTokens = twin.promptCache.lookup(scope, prompt.text, promptTokens)
  const { first_token_ms: first, per_token_ms: perToken, jitter } = settings.latency
  const vary = jitter === 0 ? 1 : 1 + jitter * (2 * new Draws(request.promptHash ^ 0x1a7e).next() - 1)
  return {
    generation,
    usage: { promptTokens, cachedTokens, completionTokens: generation.completionTokens },
    firstTokenMs: Math.max(0, first * vary),
    perTokenMs: Math.max(0, perToken * vary),
  }
}
