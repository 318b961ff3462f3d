import { chatCompletion, chatCompletionEvents } from './chat-completion.ts'
import type { AnswerIdentity } from './chat-completion.ts'
import { parseChatRequest } from './chat-request.ts'
import type { Deployment } from '../quotas/deployment.ts'
import { streamEvents } from '../http/event-stream.ts'
import type { Exchange } from '../http/exchange.ts'
import type { Generation, GenerationRequest } from '../model/generation.ts'
import type { Json } from '../json-fields.ts'
import { requireOperation } from '../http/request-fields.ts'
import { estimateCall, runModel } from '../model/run-model.ts'
import type { ModelRun } from '../model/run-model.ts'

/** The name that an answer gives its model: a router's choice, or the deployment's model with its version. */
export function modelName(deployment: Deployment, generation: Generation): string {
  const { model, model_version: version } = deployment.settings
  return version !== undefined && generation.model === model ? `${model}-${version}` : generation.model
}

/** Admits a call, lets the model answer, and notes both in the call's record. */
export function answerCall(exchange: Exchange, deployment: Deployment, request: GenerationRequest): ModelRun {
  const { record, twin } = exchange
  record.prompt_hash = request.promptHash.toString(16)
  exchange.admit(deployment, estimateCall(deployment, request))
  const run = runModel(twin, deployment, request)
  exchange.use(run.usage)
  const verdict = run.generation.choices[0]?.verdict
  record.model = modelName(deployment, run.generation)
  record.right = verdict?.right ?? null
  record.difficulty = verdict?.difficulty ?? null
  return run
}

export const tokenDelayMs = (run: ModelRun): number =>
  run.firstTokenMs + Math.max(0, run.usage.completionTokens - 1) * run.perTokenMs

export async function serveChat(exchange: Exchange, deployment: Deployment, body: Json): Promise<void> {
  await exchange.meet(deployment)
  requireOperation(deployment.settings, 'chat')
  const request = parseChatRequest(body, deployment.settings, exchange.twin.seed)
  const run = answerCall(exchange, deployment, request.generation)
  const identity: AnswerIdentity = {
    id: `chatcmpl-${exchange.record.request_id.replaceAll('-', '')}`,
    created: Math.floor(exchange.twin.clock.now() / 1000),
    model: exchange.record.model ?? deployment.settings.model,
  }
  if (request.stream) return streamEvents(exchange, chatCompletionEvents(identity, request, run), run)
  const delayMs = tokenDelayMs(run)
  if (delayMs > 0) await exchange.delay(delayMs)
  return exchange.json(chatCompletion(identity, request, run))
}
