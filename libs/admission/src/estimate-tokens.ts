import type { LineUrl, RequestBody } from '@sluice/contracts'

// What Azure's own estimate assumes for a call that names no maximum is not documented; 16 is the API's old default.
const defaultOutputTokens = 16

const imageTokens = (detail: unknown): number => (detail === 'low' ? 85 : 765)

/**
 * The tokens that the provider counts against the quota when a call arrives: the prompt by its characters plus the
 * most that may be generated. Deliberately on the high side: too low an estimate ends in a 429.
 * https://learn.microsoft.com/azure/ai-foundry/openai/how-to/quota#understanding-rate-limits
 */
export function estimateTokens(body: RequestBody, url: LineUrl): number {
  const prompt = { characters: 0, images: 0 }
  for (const field of ['messages', 'input', 'instructions', 'tools', 'prompt']) measure(body[field], prompt)
  const output = url === '/v1/embeddings' ? 0 : outputTokens(body)
  return Math.max(1, Math.ceil(prompt.characters / 4) + prompt.images + output)
}

function outputTokens(body: RequestBody): number {
  const named = [body.max_completion_tokens, body.max_tokens, body.max_output_tokens].find(isCount)
  const choices = [body.n, body.best_of].filter(isCount)
  return (named ?? defaultOutputTokens) * Math.max(1, ...choices)
}

/** Everything that is text counts, names of fields and punctuation included, as they reach the model in some form. */
function measure(value: unknown, prompt: { characters: number; images: number }): void {
  if (typeof value === 'string') prompt.characters += value.length + 4
  else if (typeof value === 'number') prompt.characters += String(value).length + 1
  else if (Array.isArray(value)) for (const item of value) measure(item, prompt)
  else if (typeof value === 'object' && value !== null) measureObject(value as Record<string, unknown>, prompt)
}

function measureObject(value: Record<string, unknown>, prompt: { characters: number; images: number }): void {
  const { type } = value
  if (type === 'image_url' || type === 'input_image') {
    const nested = value.image_url
    const detail =
      typeof nested === 'object' && nested !== null ? (nested as { detail?: unknown }).detail : value.detail
    prompt.images += imageTokens(detail)
    return
  }
  for (const [name, field] of Object.entries(value)) {
    // Sound and files are base64: their length says nothing about their tokens.
    if (name === 'data' || name === 'file_data') continue
    prompt.characters += name.length + 4
    measure(field, prompt)
  }
}

const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isInteger(value) && value > 0
