import { invalidRequest, operationNotSupported } from './azure-error.ts'
import type { AzureError } from './azure-error.ts'
import type { Capability, DeploymentSettings } from '../config.ts'
import type { Operation } from '../control/faults.ts'
import type { OutputFormat } from '../model/generation.ts'
import { isObject, listOf, objectOf, textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import type { Prompt } from '../model/prompt.ts'
import type { ToolDefinition, ToolRequest } from '../model/tool-calls.ts'

export const missing = (param: string): AzureError =>
  invalidRequest(`Missing required parameter: '${param}'.`, param, 'missing_required_parameter')

export const invalidType = (param: string, expected: string): AzureError =>
  invalidRequest(`Invalid type for '${param}': expected ${expected}.`, param, 'invalid_type')

/** An optional number within bounds. @throws AzureError 400 in OpenAI's words. */
export function numberField(
  body: Json,
  param: string,
  low: number,
  high: number,
  kind: 'integer' | 'decimal',
): number | undefined {
  const value = body[param]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'number' || (kind === 'integer' && !Number.isInteger(value))) {
    throw invalidType(param, kind === 'integer' ? 'an integer' : 'a number')
  }
  if (value < low) {
    throw invalidRequest(
      `Invalid '${param}': ${kind} below minimum value. Expected a value >= ${low}, but got ${value} instead.`,
      param,
      `${kind}_below_min_value`,
    )
  }
  if (value > high) {
    throw invalidRequest(
      `Invalid '${param}': ${kind} above maximum value. Expected a value <= ${high}, but got ${value} instead.`,
      param,
      `${kind}_above_max_value`,
    )
  }
  return value
}

export function flag(body: Json, param: string): boolean {
  const value = body[param]
  if (value === undefined || value === null) return false
  if (typeof value !== 'boolean') throw invalidType(param, 'a boolean')
  return value
}

/** One stop sequence or up to four. */
export function stopField(body: Json): string[] {
  const value = body['stop']
  if (value === undefined || value === null) return []
  const stops = typeof value === 'string' ? [value] : listOf(value)
  if (stops.length > 4 || !stops.every((stop) => typeof stop === 'string'))
    throw invalidType('stop', 'a string or up to 4 strings')
  return stops
}

function readTool(value: unknown, index: number): ToolDefinition | undefined {
  if (!isObject(value)) throw invalidType(`tools[${index}]`, 'an object')
  // Hosted tools (web search, code interpreter, …) have no function; the twin lets them pass and never calls them.
  if (value['type'] !== 'function') return undefined
  const definition = isObject(value['function']) ? value['function'] : value
  const name = textOf(definition['name'])
  if (name === undefined) throw missing(`tools[${index}].function.name`)
  if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name)) {
    throw invalidRequest(
      `Invalid 'tools[${index}].function.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.`,
      `tools[${index}].function.name`,
      'invalid_value',
    )
  }
  return { name, description: textOf(definition['description']) ?? '', parameters: objectOf(definition['parameters']) }
}

/** Tools in the chat shape (`function: {…}`) or the responses shape (flat). */
export function toolsField(body: Json): ToolRequest {
  const value = body['tools']
  if (value !== undefined && value !== null && !Array.isArray(value)) throw invalidType('tools', 'an array of objects')
  const definitions = listOf(value)
    .map(readTool)
    .filter((tool) => tool !== undefined)
  const wanted = body['tool_choice']
  let choice: ToolRequest['choice'] = definitions.length > 0 ? 'auto' : 'none'
  if (wanted === 'none' || wanted === 'auto' || wanted === 'required') choice = wanted
  else if (isObject(wanted)) {
    const name = textOf(objectOf(wanted['function'])['name']) ?? textOf(wanted['name'])
    if (name === undefined || !definitions.some((tool) => tool.name === name)) {
      throw invalidRequest(
        `Invalid value for 'tool_choice': function '${name ?? ''}' not found in 'tools' parameter.`,
        'tool_choice',
        'invalid_value',
      )
    }
    choice = { name }
  }
  return { definitions, choice, parallel: body['parallel_tool_calls'] !== false }
}

/** `response_format` of chat and `text.format` of responses, which nest the schema differently. */
export function formatField(value: unknown, param: string, prompt: Prompt): OutputFormat {
  if (value === undefined || value === null) return { type: 'text' }
  if (!isObject(value)) throw invalidType(param, 'an object')
  const type = value['type']
  if (type === 'text') return { type }
  if (type === 'json_object') {
    if (!/json/i.test(prompt.text)) {
      throw invalidRequest(
        `'messages' must contain the word 'json' in some form, to use '${param}' of type 'json_object'.`,
        'messages',
      )
    }
    return { type }
  }
  if (type !== 'json_schema')
    throw invalidRequest(
      `Invalid value: '${String(type)}'. Supported values are: 'json_object', 'json_schema', and 'text'.`,
      `${param}.type`,
      'invalid_value',
    )
  const nested = isObject(value['json_schema']) ? value['json_schema'] : value
  if (!isObject(nested['schema']))
    throw missing(param === 'response_format' ? `${param}.json_schema.schema` : `${param}.schema`)
  return { type, schema: nested['schema'] }
}

export type ModelFamily = 'chat' | 'embeddings' | 'transcriptions' | 'speech' | 'realtime'

export function familyOf(model: string): ModelFamily {
  if (/embedding/.test(model)) return 'embeddings'
  if (/whisper|transcribe/.test(model)) return 'transcriptions'
  if (/tts/.test(model)) return 'speech'
  return /realtime/.test(model) ? 'realtime' : 'chat'
}

const operationNames: Partial<Record<Operation, [family: ModelFamily, name: string]>> = {
  chat: ['chat', 'chatCompletion'],
  completions: ['chat', 'completion'],
  responses: ['chat', 'responses'],
  embeddings: ['embeddings', 'embeddings'],
  transcriptions: ['transcriptions', 'audioTranscription'],
  speech: ['speech', 'audioSpeech'],
  realtime: ['realtime', 'realtime'],
}

/** @throws AzureError 400 when the model cannot do it, or when a batch deployment is called online. */
export function requireOperation(settings: DeploymentSettings, operation: Operation, online = true): void {
  const [family, name] = operationNames[operation] ?? ['chat', operation]
  if (familyOf(settings.model) !== family || (online && settings.kind === 'batch'))
    throw operationNotSupported(name, settings.model)
}

/** @throws AzureError 400 that names the parameter which asks for what the deployment cannot do. */
export function requireCapability(settings: DeploymentSettings, capability: Capability, param: string): void {
  if (settings.capabilities.includes(capability)) return
  throw invalidRequest(
    `Unsupported parameter: '${param}' is not supported with this model.`,
    param,
    'unsupported_parameter',
  )
}
