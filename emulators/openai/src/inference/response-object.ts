import type { AnswerIdentity } from './chat-completion.ts'
import { reasons } from '../model/generation.ts'
import type { Json } from '../json-fields.ts'
import { tokenLogprobs } from '../model/logprobs.ts'
import type { ResponsesRequest } from './responses-request.ts'
import type { ModelRun } from '../model/run-model.ts'

/** An id of the shape that responses use, derived from the response's own so that streams and reads agree. */
const itemId = (prefix: string, identity: AnswerIdentity, index: number): string =>
  `${prefix}_${identity.id.slice(5)}${index}`

/** The output items of a finished answer: reasoning, then a message or function calls. */
export function outputItems(identity: AnswerIdentity, request: ResponsesRequest, run: ModelRun): Json[] {
  const items: Json[] = []
  const choice = run.generation.choices[0]
  if (reasons(run.generation.model)) items.push({ id: itemId('rs', identity, 0), type: 'reasoning', summary: [] })
  if (!choice) return items
  const status = choice.finish === 'length' || choice.finish === 'content_filter' ? 'incomplete' : 'completed'
  for (const call of choice.toolCalls) {
    items.push({
      id: itemId('fc', identity, items.length),
      type: 'function_call',
      status,
      call_id: call.id,
      name: call.name,
      arguments: call.pieces.join(''),
    })
  }
  if (choice.toolCalls.length > 0) return items
  if (choice.pieces.length === 0 && choice.finish === 'length') return items
  const text = choice.pieces.join('')
  const structuredRefusal = choice.refusal && request.generation.format.type === 'json_schema'
  const content = structuredRefusal
    ? { type: 'refusal', refusal: text }
    : {
        type: 'output_text',
        text,
        annotations: [],
        logprobs: request.logprobs ? tokenLogprobs(choice, request.topLogprobs) : [],
      }
  items.push({
    id: itemId('msg', identity, items.length),
    type: 'message',
    status,
    role: 'assistant',
    content: [content],
  })
  return items
}

/** The response object, in progress (no output, no usage) or finished. */
export function responseObject(identity: AnswerIdentity, request: ResponsesRequest, run: ModelRun | undefined): Json {
  const { body } = request
  const choice = run?.generation.choices[0]
  const reason =
    choice?.finish === 'length' ? 'max_output_tokens' : choice?.finish === 'content_filter' ? 'content_filter' : null
  return {
    id: identity.id,
    object: 'response',
    created_at: identity.created,
    status: run === undefined ? 'in_progress' : reason === null ? 'completed' : 'incomplete',
    background: false,
    error: null,
    incomplete_details: reason === null ? null : { reason },
    instructions: body['instructions'] ?? null,
    max_output_tokens: body['max_output_tokens'] ?? null,
    model: identity.model,
    output: run === undefined ? [] : outputItems(identity, request, run),
    parallel_tool_calls: body['parallel_tool_calls'] ?? true,
    previous_response_id: body['previous_response_id'] ?? null,
    reasoning: body['reasoning'] ?? { effort: null, summary: null },
    store: request.store,
    temperature: body['temperature'] ?? 1,
    text: body['text'] ?? { format: { type: 'text' } },
    tool_choice: body['tool_choice'] ?? 'auto',
    tools: body['tools'] ?? [],
    top_p: body['top_p'] ?? 1,
    truncation: body['truncation'] ?? 'disabled',
    usage:
      run === undefined
        ? null
        : {
            input_tokens: run.usage.promptTokens,
            input_tokens_details: { cached_tokens: run.usage.cachedTokens },
            output_tokens: run.usage.completionTokens,
            output_tokens_details: { reasoning_tokens: run.generation.reasoningTokens },
            total_tokens: run.usage.promptTokens + run.usage.completionTokens,
          },
    user: body['user'] ?? null,
    metadata: body['metadata'] ?? {},
  }
}
