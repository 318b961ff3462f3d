import { invalidRequest } from '../http/azure-error.ts'
import type { DeploymentSettings } from '../config.ts'
import type { GenerationRequest } from '../model/generation.ts'
import { reasons } from '../model/generation.ts'
import { isObject, objectOf, textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import { hashPrompt, readPrompt } from '../model/prompt.ts'
import {
  flag,
  formatField,
  invalidType,
  missing,
  numberField,
  requireCapability,
  stopField,
  toolsField,
} from '../http/request-fields.ts'

export interface ChatRequest {
  generation: GenerationRequest
  stream: boolean
  includeUsage: boolean
  logprobs: boolean
  topLogprobs: number
}

const roles = new Set(['system', 'developer', 'user', 'assistant', 'tool', 'function'])

function checkMessages(value: unknown): unknown[] {
  if (value === undefined || value === null) throw missing('messages')
  if (!Array.isArray(value)) throw invalidType('messages', 'an array of objects')
  if (value.length === 0) {
    throw invalidRequest(
      "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
      'messages',
      'empty_array',
    )
  }
  for (const [index, message] of value.entries()) {
    if (!isObject(message)) throw invalidType(`messages[${index}]`, 'an object')
    const role = textOf(message['role'])
    if (role === undefined) throw missing(`messages[${index}].role`)
    if (!roles.has(role)) {
      throw invalidRequest(
        `Invalid value: '${role}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'.`,
        `messages[${index}].role`,
        'invalid_value',
      )
    }
    const content = message['content']
    const calls =
      role === 'assistant' &&
      (Array.isArray(message['tool_calls']) ||
        isObject(message['function_call']) ||
        message['refusal'] !== undefined ||
        isObject(message['audio']))
    if (content === undefined || content === null) {
      if (!calls)
        throw invalidRequest(`Invalid value for 'content': expected a string, got null.`, `messages.[${index}].content`)
    } else if (typeof content !== 'string' && !Array.isArray(content)) {
      throw invalidType(`messages[${index}].content`, 'one of a string or array of objects')
    }
  }
  return value
}

function maxTokensField(body: Json, settings: DeploymentSettings): number | undefined {
  const limit = settings.max_output_tokens
  if (body['max_tokens'] !== undefined && body['max_tokens'] !== null && reasons(settings.model)) {
    throw invalidRequest(
      "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
      'max_tokens',
      'unsupported_parameter',
    )
  }
  for (const param of ['max_completion_tokens', 'max_tokens']) {
    const value = numberField(body, param, 1, Number.MAX_SAFE_INTEGER, 'integer')
    if (value === undefined) continue
    if (value > limit) {
      throw invalidRequest(
        `${param} is too large: ${value}. This model supports at most ${limit} completion tokens, whereas you provided ${value}.`,
        param,
        'invalid_value',
      )
    }
    return value
  }
  return undefined
}

/** @throws AzureError 400 in the service's words when a field is missing, malformed or beyond the deployment. */
export function parseChatRequest(body: Json, settings: DeploymentSettings, seed: number): ChatRequest {
  const messages = checkMessages(body['messages'])
  const tools = toolsField(body)
  const prompt = readPrompt(messages, tools.definitions.length > 0 ? JSON.stringify(body['tools']) : '')
  if (prompt.imageTokens > 0) requireCapability(settings, 'vision', 'image_url')
  if (prompt.hasAudio) requireCapability(settings, 'audio', 'input_audio')
  if (tools.definitions.length > 0) requireCapability(settings, 'tools', 'tools')
  const format = formatField(body['response_format'], 'response_format', prompt)
  if (format.type === 'json_schema') requireCapability(settings, 'json_schema', 'response_format')
  const logprobs = flag(body, 'logprobs')
  const topLogprobs = numberField(body, 'top_logprobs', 0, 20, 'integer') ?? 0
  if (logprobs) requireCapability(settings, 'logprobs', 'logprobs')
  else if (topLogprobs > 0) throw invalidRequest("'top_logprobs' requires 'logprobs' to be true.", 'top_logprobs')
  numberField(body, 'temperature', 0, 2, 'decimal')
  numberField(body, 'top_p', 0, 1, 'decimal')
  return {
    generation: {
      prompt,
      promptHash: hashPrompt(prompt, seed),
      maxTokens: maxTokensField(body, settings),
      choices: numberField(body, 'n', 1, 128, 'integer') ?? 1,
      stop: stopField(body),
      tools,
      format,
      reasoningEffort: textOf(body['reasoning_effort']),
    },
    stream: flag(body, 'stream'),
    includeUsage: objectOf(body['stream_options'])['include_usage'] === true,
    logprobs,
    topLogprobs,
  }
}
