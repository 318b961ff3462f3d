import { contextLengthExceeded, invalidRequest } from '../http/azure-error.ts'
import type { DeploymentSettings } from '../config.ts'
import type { Deployment } from '../quotas/deployment.ts'
import { embeddingVector } from '../model/embedding-vector.ts'
import type { Exchange } from '../http/exchange.ts'
import type { Json } from '../json-fields.ts'
import { invalidType, missing, numberField, requireOperation } from '../http/request-fields.ts'
import { hashText } from '../model/seeded-draw.ts'
import { countTokens } from '../model/tokens.ts'

interface EmbeddingRequest {
  /** Texts, or token ids spelled out: tokens of equal ids are near each other as words are. */
  inputs: { text: string; tokens: number }[]
  dimensions: number
  base64: boolean
}

const fullDimensions = (model: string): number => (model.includes('3-large') ? 3_072 : 1_536)

const isTokenList = (value: unknown): value is number[] =>
  Array.isArray(value) && value.length > 0 && value.every((item) => Number.isInteger(item))

export function parseEmbeddingRequest(body: Json, settings: DeploymentSettings): EmbeddingRequest {
  const { input } = body
  if (input === undefined || input === null) throw missing('input')
  const list: unknown[] = typeof input === 'string' || isTokenList(input) ? [input] : Array.isArray(input) ? input : []
  if (list.length === 0 || list.some((item) => item === '' || (typeof item !== 'string' && !isTokenList(item)))) {
    throw invalidRequest(
      "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
      'input',
      'invalid_value',
    )
  }
  if (list.length > 2_048)
    throw invalidRequest(
      "Invalid 'input': array too long. Expected an array with maximum length 2048.",
      'input',
      'array_above_max_length',
    )
  const format = body['encoding_format'] ?? 'float'
  if (format !== 'float' && format !== 'base64') throw invalidType('encoding_format', "'float' or 'base64'")
  const full = fullDimensions(settings.model)
  const dimensions = numberField(body, 'dimensions', 1, full, 'integer')
  if (dimensions !== undefined && settings.model.includes('ada'))
    throw invalidRequest('This model does not support specifying dimensions.', 'dimensions')
  const inputs = list.map((item) =>
    typeof item === 'string'
      ? { text: item, tokens: countTokens(item) }
      : { text: (item as number[]).join(' '), tokens: (item as number[]).length },
  )
  const tooLong = inputs.find(({ tokens }) => tokens > settings.context_tokens)
  if (tooLong) throw contextLengthExceeded(settings.context_tokens, tooLong.tokens, 0)
  return { inputs, dimensions: dimensions ?? full, base64: format === 'base64' }
}

/** The body of an embeddings answer. */
export function embeddingsBody(request: EmbeddingRequest, model: string): Json {
  const data = request.inputs.map(({ text }, index) => {
    const vector = embeddingVector(text, request.dimensions)
    const embedding = request.base64 ? Buffer.from(vector.buffer).toString('base64') : [...vector]
    return { object: 'embedding', index, embedding }
  })
  const tokens = request.inputs.reduce((sum, input) => sum + input.tokens, 0)
  return { object: 'list', data, model, usage: { prompt_tokens: tokens, total_tokens: tokens } }
}

export async function serveEmbeddings(exchange: Exchange, deployment: Deployment, body: Json): Promise<void> {
  await exchange.meet(deployment)
  const { settings } = deployment
  requireOperation(settings, 'embeddings')
  const request = parseEmbeddingRequest(body, settings)
  const characters = request.inputs.reduce((sum, input) => sum + input.text.length, 0)
  exchange.record.prompt_hash = hashText(
    request.inputs.map((input) => input.text).join('\n'),
    exchange.twin.seed,
  ).toString(16)
  exchange.record.model = settings.model
  exchange.admit(deployment, { promptTokens: Math.ceil(characters / 4), outputTokens: 0 })
  const answer = embeddingsBody(request, settings.model)
  const promptTokens = request.inputs.reduce((sum, input) => sum + input.tokens, 0)
  exchange.use({ promptTokens, cachedTokens: 0, completionTokens: 0 })
  if (settings.latency.first_token_ms > 0) await exchange.delay(settings.latency.first_token_ms)
  return exchange.json(answer)
}
