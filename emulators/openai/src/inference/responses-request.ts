import { invalidRequest } from '../http/azure-error.ts'
import type { DeploymentSettings } from '../config.ts'
import type { GenerationRequest } from '../model/generation.ts'
import { isObject, listOf, objectOf, textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import { hashPrompt, readPrompt } from '../model/prompt.ts'
import {
  flag,
  formatField,
  invalidType,
  missing,
  numberField,
  requireCapability,
  toolsField,
} from '../http/request-fields.ts'

export interface ResponsesRequest {
  generation: GenerationRequest
  stream: boolean
  store: boolean
  logprobs: boolean
  topLogprobs: number
  /** The conversation so far, this request's input included. */
  conversation: unknown[]
  body: Json
}

function inputItems(input: unknown): unknown[] {
  if (input === undefined || input === null) throw missing('input')
  if (typeof input === 'string') return [{ role: 'user', content: input }]
  if (!Array.isArray(input)) throw invalidType('input', 'one of a string or array of input items')
  for (const [index, item] of input.entries()) if (!isObject(item)) throw invalidType(`input[${index}]`, 'an object')
  return input
}

/** @throws AzureError 400 in the service's words when a field is missing, malformed or beyond the deployment. */
export function parseResponsesRequest(
  body: Json,
  settings: DeploymentSettings,
  earlier: readonly unknown[],
  seed: number,
): ResponsesRequest {
  const conversation = [...earlier, ...inputItems(body['input'])]
  const instructions = textOf(body['instructions'])
  const items = instructions === undefined ? conversation : [{ role: 'system', content: instructions }, ...conversation]
  const tools = toolsField(body)
  const prompt = readPrompt(items, tools.definitions.length > 0 ? JSON.stringify(body['tools']) : '')
  if (prompt.imageTokens > 0) requireCapability(settings, 'vision', 'input_image')
  if (prompt.hasAudio) requireCapability(settings, 'audio', 'input_audio')
  if (tools.definitions.length > 0) requireCapability(settings, 'tools', 'tools')
  const format = formatField(objectOf(body['text'])['format'], 'text.format', prompt)
  if (format.type === 'json_schema') requireCapability(settings, 'json_schema', 'text.format')
  const logprobs = listOf(body['include']).includes('message.output_text.logprobs')
  if (logprobs) requireCapability(settings, 'logprobs', 'include')
  const maxTokens = numberField(body, 'max_output_tokens', 16, Number.MAX_SAFE_INTEGER, 'integer')
  if (maxTokens !== undefined && maxTokens > settings.max_output_tokens) {
    throw invalidRequest(
      `Invalid 'max_output_tokens': integer above maximum value. Expected a value <= ${settings.max_output_tokens}, but got ${maxTokens} instead.`,
      'max_output_tokens',
      'integer_above_max_value',
    )
  }
  numberField(body, 'temperature', 0, 2, 'decimal')
  return {
    generation: {
      prompt,
      promptHash: hashPrompt(prompt, seed),
      maxTokens,
      choices: 1,
      stop: [],
      tools,
      format,
      reasoningEffort: textOf(objectOf(body['reasoning'])['effort']),
    },
    stream: flag(body, 'stream'),
    store: body['store'] !== false,
    logprobs,
    topLogprobs: numberField(body, 'top_logprobs', 0, 20, 'integer') ?? 0,
    conversation,
    body,
  }
}
