import { AzureError, serviceError } from '../http/azure-error.ts'
import { chatCompletion } from '../inference/chat-completion.ts'
import { parseChatRequest } from '../inference/chat-request.ts'
import type { ActualTokens, Deployment } from '../quotas/deployment.ts'
import { embeddingsBody, parseEmbeddingRequest } from '../inference/serve-embeddings.ts'
import { newId } from '../files/file-store.ts'
import { listOf, objectOf, textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import { readPrompt, estimatePromptTokens } from '../model/prompt.ts'
import { parseResponsesRequest } from '../inference/responses-request.ts'
import { responseObject } from '../inference/response-object.ts'
import { runModel } from '../model/run-model.ts'
import { modelName } from '../inference/serve-chat.ts'
import type { TwinCore } from '../twin.ts'

export type BatchEndpoint = '/chat/completions' | '/responses' | '/embeddings'

/** The endpoint of a batch or of a line's url, whose /v1 and /openai prefixes do not matter; undefined if it has none. */
export function batchEndpoint(url: unknown): BatchEndpoint | undefined {
  const path = typeof url === 'string' ? url.replace(/^(\/openai)?(\/v1)?(?=\/)/, '') : ''
  return path === '/chat/completions' || path === '/responses' || path === '/embeddings' ? path : undefined
}

/** What a line adds to the enqueued tokens: its input alone, by the characters. */
export function enqueuedTokensOf(endpoint: BatchEndpoint, body: Json): number {
  if (endpoint === '/chat/completions') return estimatePromptTokens(readPrompt(listOf(body['messages'])))
  const input = body['input']
  if (endpoint === '/responses' && Array.isArray(input)) return estimatePromptTokens(readPrompt(input))
  const text = typeof input === 'string' ? input : JSON.stringify(input ?? '')
  return Math.ceil(text.length / 4)
}

export interface LineResult {
  ok: boolean
  /** The line of the output or error file, without its line break. */
  text: string
  usage: ActualTokens & { reasoningTokens: number }
}

const noUsage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0, reasoningTokens: 0 }

function answer(
  twin: TwinCore,
  deployment: Deployment,
  endpoint: BatchEndpoint,
  body: Json,
): { body: Json; usage: LineResult['usage'] } {
  const { settings } = deployment
  const fault = twin.faults.hit(deployment.resource, settings.name, 'batch_line').find((one) => one.type === 'status')
  if (fault) throw serviceError(fault.status ?? 500)
  const created = Math.floor(twin.clock.now() / 1000)
  if (endpoint === '/embeddings') {
    const request = parseEmbeddingRequest(body, settings)
    const promptTokens = request.inputs.reduce((sum, input) => sum + input.tokens, 0)
    return { body: embeddingsBody(request, settings.model), usage: { ...noUsage, promptTokens } }
  }
  if (endpoint === '/responses') {
    const request = parseResponsesRequest(body, settings, [], twin.seed)
    const run = runModel(twin, deployment, request.generation)
    const identity = { id: newId('resp_'), created, model: modelName(deployment, run.generation) }
    return {
      body: responseObject(identity, request, run),
      usage: { ...run.usage, reasoningTokens: run.generation.reasoningTokens },
    }
  }
  const request = parseChatRequest(body, settings, twin.seed)
  const run = runModel(twin, deployment, request.generation)
  const identity = { id: newId('chatcmpl-'), created, model: modelName(deployment, run.generation) }
  return {
    body: chatCompletion(identity, request, run),
    usage: { ...run.usage, reasoningTokens: run.generation.reasoningTokens },
  }
}

/** Answers one line of a batch; what would have been an HTTP error becomes a line of the error file. */
export function answerLine(twin: TwinCore, deployment: Deployment, endpoint: BatchEndpoint, text: string): LineResult {
  const line = objectOf(JSON.parse(text))
  const id = newId('batch_req_')
  const customId = textOf(line['custom_id'])
  const requestId = newId('')
  try {
    const { body, usage } = answer(twin, deployment, endpoint, objectOf(line['body']))
    const response = { status_code: 200, request_id: requestId, body }
    return { ok: true, text: JSON.stringify({ id, custom_id: customId, response, error: null }), usage }
  } catch (error) {
    const known = error instanceof AzureError ? error : serviceError(500)
    const response = { status_code: known.status, request_id: requestId, body: known.body }
    return { ok: false, text: JSON.stringify({ id, custom_id: customId, response, error: null }), usage: noUsage }
  }
}

/** The error file's line for a request that the completion window left undone. */
export function expiredLine(text: string): string {
  const error = {
    code: 'batch_expired',
    message: 'This request could not be executed before the completion window expired.',
  }
  const customId = textOf(objectOf(JSON.parse(text))['custom_id'])
  return JSON.stringify({ id: newId('batch_req_'), custom_id: customId, response: null, error })
}
