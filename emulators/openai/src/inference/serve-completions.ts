import type { Deployment } from '../quotas/deployment.ts'
import { streamEvents } from '../http/event-stream.ts'
import type { StreamEvent } from '../http/event-stream.ts'
import type { Exchange } from '../http/exchange.ts'
import type { Choice, GenerationRequest } from '../model/generation.ts'
import { objectOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import { usageOf } from './chat-completion.ts'
import { hashPrompt, readPrompt } from '../model/prompt.ts'
import { flag, invalidType, missing, numberField, requireOperation, stopField } from '../http/request-fields.ts'
import { answerCall, tokenDelayMs } from './serve-chat.ts'

function parse(body: Json, seed: number): { generation: GenerationRequest; shown: number } {
  const text = body['prompt'] ?? undefined
  if (text === undefined) throw missing('prompt')
  if (typeof text !== 'string') throw invalidType('prompt', 'a string')
  const shown = numberField(body, 'n', 1, 128, 'integer') ?? 1
  const bestOf = numberField(body, 'best_of', shown, 20, 'integer') ?? shown
  const prompt = readPrompt([{ role: 'user', content: text }])
  const generation: GenerationRequest = {
    prompt,
    promptHash: hashPrompt(prompt, seed),
    // The legacy API's own default, and the one that makes its answers short.
    maxTokens: numberField(body, 'max_tokens', 1, 16_384, 'integer') ?? 16,
    // best_of candidates are all generated, and all counted by the quota; only n are shown.
    choices: bestOf,
    stop: stopField(body),
    tools: { definitions: [], choice: 'none', parallel: false },
    format: { type: 'text' },
    reasoningEffort: undefined,
  }
  return { generation, shown }
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)

/** Legacy text completions: like a chat with one user message, with best_of choosing the most likely candidates. */
export async function serveCompletions(exchange: Exchange, deployment: Deployment, body: Json): Promise<void> {
  await exchange.meet(deployment)
  requireOperation(deployment.settings, 'completions')
  const { generation, shown } = parse(body, exchange.twin.seed)
  const run = answerCall(exchange, deployment, generation)
  const best = run.generation.choices
    .toSorted((left: Choice, right: Choice) => mean(right.logprobs) - mean(left.logprobs))
    .slice(0, shown)
  const head = {
    id: `cmpl-${exchange.record.request_id.replaceAll('-', '')}`,
    object: 'text_completion',
    created: Math.floor(exchange.twin.clock.now() / 1000),
    model: exchange.record.model,
  }
  if (flag(body, 'stream')) {
    const events: StreamEvent[] = []
    const push = (afterTokens: number, fields: Json): void =>
      void events.push({ text: `data: ${JSON.stringify({ ...head, ...fields })}\n\n`, afterTokens })
    let tokens = 0
    for (const [index, choice] of best.entries()) {
      for (const text of choice.pieces)
        push(++tokens, { choices: [{ text, index, logprobs: null, finish_reason: null }] })
      push(tokens, { choices: [{ text: '', index, logprobs: null, finish_reason: choice.finish }] })
    }
    if (objectOf(body['stream_options'])['include_usage'] === true) push(tokens, { choices: [], usage: usageOf(run) })
    events.push({ text: 'data: [DONE]\n\n', afterTokens: tokens })
    return streamEvents(exchange, events, run)
  }
  const delayMs = tokenDelayMs(run)
  if (delayMs > 0) await exchange.delay(delayMs)
  const choices = best.map((choice, index) => ({
    text: choice.pieces.join(''),
    index,
    logprobs: null,
    finish_reason: choice.finish,
  }))
  return exchange.json({ ...head, choices, usage: usageOf(run) })
}
