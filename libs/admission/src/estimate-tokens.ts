import type { LineUrl, RequestBody } from '@sluice/contracts'

// What Azure's own estimate assumes for a call that names no maximum is not documented; 16 is the API's old default.
const defaultOutputTokens = 16
const charactersPerToken = 4

/**
 * The tokens that the provider counts against the quota when a call arrives: the prompt by its characters plus the
 * most that may be generated. What a real deployment counts beyond it shows in its headers and is learnt from them.
 * https://learn.microsoft.com/azure/ai-foundry/openai/how-to/quota#understanding-rate-limits
 */
export function estimateTokens(body: RequestBody, url: LineUrl): number {
  // A recording's tokens nobody knows before it is heard; of speech the provider counts the text.
  if (url === '/v1/audio/transcriptions') return 1
  if (url === '/v1/embeddings' || url === '/v1/audio/speech') return tokensOf(inputCharacters(body.input))
  const items = typeof body.input === 'string' ? [{ role: 'user', content: body.input }] : (body.messages ?? body.input)
  let characters = typeof body.instructions === 'string' ? 'system: \n'.length + body.instructions.length : 0
  let images = 0
  for (const item of listOf(items)) {
    const content = fieldOf(item, 'content') ?? fieldOf(item, 'output')
    characters += (textOf(fieldOf(item, 'role')) || 'tool').length + ': \n'.length + textOf(content).length
    for (const part of listOf(content)) {
      images += imageTokens(part)
      characters += textOf(fieldOf(part, 'text')).length + textOf(fieldOf(part, 'transcript')).length
    }
    characters += jsonLength(fieldOf(item, 'tool_calls')) + textOf(fieldOf(item, 'arguments')).length
  }
  return tokensOf(characters + jsonLength(body.tools)) + images + outputTokens(body)
}

function outputTokens(body: RequestBody): number {
  const named = [body.max_completion_tokens, body.max_tokens, body.max_output_tokens].find(isCount)
  const choices = [body.n, body.best_of].filter(isCount)
  return (named ?? defaultOutputTokens) * Math.max(1, ...choices)
}

function imageTokens(part: unknown): number {
  const type = fieldOf(part, 'type')
  if (type !== 'image_url' && type !== 'input_image') return 0
  const detail = fieldOf(type === 'image_url' ? fieldOf(part, 'image_url') : part, 'detail')
  return detail === 'low' ? 85 : 765
}

/** Texts, or lists of token ids, which count as they are spelled. */
function inputCharacters(input: unknown): number {
  if (typeof input === 'number') return String(input).length + 1
  if (Array.isArray(input)) return input.reduce<number>((sum, item) => sum + inputCharacters(item), 0)
  return textOf(input).length
}

const tokensOf = (characters: number): number => Math.max(1, Math.ceil(characters / charactersPerToken))
const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
const jsonLength = (value: unknown): number => (Array.isArray(value) ? JSON.stringify(value).length : 0)
const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isInteger(value) && value > 0
