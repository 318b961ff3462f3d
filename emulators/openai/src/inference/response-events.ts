import type { AnswerIdentity } from './chat-completion.ts'
import type { StreamEvent } from '../http/event-stream.ts'
import { isObject, listOf, textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import { tokenLogprobs } from '../model/logprobs.ts'
import { responseObject } from './response-object.ts'
import type { ResponsesRequest } from './responses-request.ts'
import type { ModelRun } from '../model/run-model.ts'

/** The typed event stream of a response, numbered from 0, each event under its own name. */
export function responseEvents(identity: AnswerIdentity, request: ResponsesRequest, run: ModelRun): StreamEvent[] {
  const events: StreamEvent[] = []
  let tokens = run.generation.reasoningTokens
  const push = (type: string, fields: Json): void => {
    const data = JSON.stringify({ type, sequence_number: events.length, ...fields })
    events.push({ text: `event: ${type}\ndata: ${data}\n\n`, afterTokens: tokens })
  }
  const finished = responseObject(identity, request, run)
  const started = responseObject(identity, request, undefined)
  tokens = 0
  push('response.created', { response: started })
  push('response.in_progress', { response: started })
  tokens = run.generation.reasoningTokens
  const choice = run.generation.choices[0]
  let call = 0
  for (const [index, item] of listOf(finished['output']).entries()) {
    if (!isObject(item)) continue
    const at = { item_id: item['id'], output_index: index }
    if (item['type'] === 'function_call') {
      push('response.output_item.added', {
        output_index: index,
        item: { ...item, status: 'in_progress', arguments: '' },
      })
      for (const piece of choice?.toolCalls[call]?.pieces ?? []) {
        tokens++
        push('response.function_call_arguments.delta', { ...at, delta: piece })
      }
      call++
      push('response.function_call_arguments.done', { ...at, name: item['name'], arguments: item['arguments'] })
    } else if (item['type'] === 'message') {
      push('response.output_item.added', { output_index: index, item: { ...item, status: 'in_progress', content: [] } })
      const part = listOf(item['content'])[0]
      const content = isObject(part) ? part : {}
      const place = { ...at, content_index: 0 }
      const refusal = content['type'] === 'refusal'
      push('response.content_part.added', {
        ...place,
        part: refusal ? { type: 'refusal', refusal: '' } : { ...content, text: '', logprobs: [] },
      })
      const logprobs = choice && request.logprobs ? tokenLogprobs(choice, request.topLogprobs) : []
      for (const [piece, delta] of (choice?.pieces ?? []).entries()) {
        tokens++
        if (refusal) push('response.refusal.delta', { ...place, delta })
        else push('response.output_text.delta', { ...place, delta, logprobs: logprobs.slice(piece, piece + 1) })
      }
      if (refusal) push('response.refusal.done', { ...place, refusal: content['refusal'] })
      else push('response.output_text.done', { ...place, text: textOf(content['text']) ?? '', logprobs })
      push('response.content_part.done', { ...place, part: content })
    } else push('response.output_item.added', { output_index: index, item })
    push('response.output_item.done', { output_index: index, item })
  }
  push(finished['status'] === 'incomplete' ? 'response.incomplete' : 'response.completed', { response: finished })
  return events
}
