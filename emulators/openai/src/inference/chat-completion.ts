import { filterResults } from '../http/azure-error.ts'
import type { ChatRequest } from './chat-request.ts'
import type { StreamEvent } from '../http/event-stream.ts'
import type { Choice } from '../model/generation.ts'
import type { Json } from '../json-fields.ts'
import { tokenLogprobs } from '../model/logprobs.ts'
import type { ModelRun } from '../model/run-model.ts'

const promptFilter = [
  {
    prompt_index: 0,
    content_filter_results: { ...filterResults(), jailbreak: { filtered: false, detected: false } },
  },
]
const nothingFiltered = filterResults()

/** Identity of an answer: what every chunk of it repeats. */
export interface AnswerIdentity {
  id: string
  created: number
  /** The model and its version, as Azure names them in answers. */
  model: string
}

export const usageOf = ({ usage, generation }: ModelRun): Json => ({
  prompt_tokens: usage.promptTokens,
  completion_tokens: usage.completionTokens,
  total_tokens: usage.promptTokens + usage.completionTokens,
  prompt_tokens_details: { audio_tokens: 0, cached_tokens: usage.cachedTokens },
  completion_tokens_details: {
    accepted_prediction_tokens: 0,
    audio_tokens: 0,
    reasoning_tokens: generation.reasoningTokens,
    rejected_prediction_tokens: 0,
  },
})

const filterOf = (choice: Choice): object => (choice.filtered ? filterResults(choice.filtered) : nothingFiltered)

/** A refusal is its own field only under structured outputs; else the model says so in its text, as it does today. */
function messageOf(choice: Choice, request: ChatRequest): Json {
  const text = choice.pieces.join('')
  const structured = request.generation.format.type === 'json_schema'
  const refused = choice.refusal && structured
  const message: Json = {
    role: 'assistant',
    content: choice.toolCalls.length > 0 || refused ? null : text,
    refusal: refused ? text : null,
    annotations: [],
  }
  if (choice.toolCalls.length > 0) {
    message['tool_calls'] = choice.toolCalls.map((call) => ({
      id: call.id,
      type: 'function',
      function: { name: call.name, arguments: call.pieces.join('') },
    }))
  }
  return message
}

/** The body of a chat completion that is not streamed. */
export function chatCompletion(identity: AnswerIdentity, request: ChatRequest, run: ModelRun): Json {
  return {
    id: identity.id,
    object: 'chat.completion',
    created: identity.created,
    model: identity.model,
    system_fingerprint: 'fp_twin',
    prompt_filter_results: promptFilter,
    choices: run.generation.choices.map((choice, index) => ({
      index,
      message: messageOf(choice, request),
      logprobs: request.logprobs ? { content: tokenLogprobs(choice, request.topLogprobs), refusal: null } : null,
      finish_reason: choice.finish,
      content_filter_results: filterOf(choice),
    })),
    usage: usageOf(run),
  }
}

/** Azure's stream: prompt annotations with no choice, the role, the tokens, the finish reason, usage if asked, [DONE]. */
export function chatCompletionEvents(identity: AnswerIdentity, request: ChatRequest, run: ModelRun): StreamEvent[] {
  const events: StreamEvent[] = []
  const head = {
    id: identity.id,
    object: 'chat.completion.chunk',
    created: identity.created,
    model: identity.model,
    system_fingerprint: 'fp_twin',
  }
  const push = (afterTokens: number, fields: Json): void => {
    const usage = request.includeUsage && !('usage' in fields) ? { usage: null } : {}
    events.push({ text: `data: ${JSON.stringify({ ...head, ...fields, ...usage })}\n\n`, afterTokens })
  }
  const chunk = (afterTokens: number, index: number, delta: Json, finish: string | null, extra: Json = {}): void =>
    push(afterTokens, { choices: [{ index, delta, logprobs: null, finish_reason: finish, ...extra }] })

  events.push({
    text: `data: ${JSON.stringify({ ...head, id: '', model: '', created: 0, object: '', choices: [], prompt_filter_results: promptFilter })}\n\n`,
    afterTokens: 0,
  })
  let tokens = run.generation.reasoningTokens
  let last = tokens
  for (const [index, choice] of run.generation.choices.entries()) {
    const structuredRefusal = choice.refusal && request.generation.format.type === 'json_schema'
    const field = structuredRefusal ? 'refusal' : 'content'
    chunk(
      tokens + 1,
      index,
      { role: 'assistant', content: choice.toolCalls.length > 0 ? null : '', refusal: null },
      null,
    )
    const logprobs = request.logprobs ? tokenLogprobs(choice, request.topLogprobs) : undefined
    for (const [at, piece] of choice.pieces.entries()) {
      const extra = logprobs ? { logprobs: { content: [logprobs[at]], refusal: null } } : {}
      chunk(++tokens, index, { [field]: piece }, null, { content_filter_results: nothingFiltered, ...extra })
    }
    for (const [at, call] of choice.toolCalls.entries()) {
      chunk(
        ++tokens,
        index,
        { tool_calls: [{ index: at, id: call.id, type: 'function', function: { name: call.name, arguments: '' } }] },
        null,
      )
      for (const piece of call.pieces)
        chunk(++tokens, index, { tool_calls: [{ index: at, function: { arguments: piece } }] }, null)
    }
    last = tokens
    chunk(last, index, {}, choice.finish, { content_filter_results: filterOf(choice) })
  }
  if (request.includeUsage) push(last, { choices: [], usage: usageOf(run) })
  events.push({ text: 'data: [DONE]\n\n', afterTokens: last })
  return events
}
