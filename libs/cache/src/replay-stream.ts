type Json = Record<string, unknown>

/**
 * A stored answer as the server-sent events in which its endpoint would have streamed it, the text in pieces of a few
 * words, so that a client which asked for a stream gets one.
 * @param body the answer of a chat completion or a response
 * @param includeUsage whether the caller asked for a last chunk with the usage (chat completions only)
 */
export function replayStream(body: unknown, includeUsage: boolean): string[] {
  const answer = objectOf(body)
  if (answer.object === 'response') return responseEvents(answer)
  return chatChunks(answer, includeUsage)
}

function chatChunks(answer: Json, includeUsage: boolean): string[] {
  const frame = { id: answer.id, object: 'chat.completion.chunk', created: answer.created, model: answer.model }
  const chunks: Json[] = []
  for (const choice of listOf(answer.choices).map(objectOf)) {
    const { index, finish_reason, logprobs } = choice
    const message = objectOf(choice.message)
    const add = (delta: Json, reason: unknown = null, probabilities?: unknown) =>
      chunks.push({
        ...frame,
        choices: [
          {
            index,
            delta,
            finish_reason: reason,
            ...(probabilities === undefined || probabilities === null ? {} : { logprobs: probabilities }),
          },
        ],
      })
    add({ role: message.role ?? 'assistant', content: '' }, null, logprobs)
    if (typeof message.refusal === 'string') for (const refusal of pieces(message.refusal)) add({ refusal })
    if (typeof message.content === 'string') for (const content of pieces(message.content)) add({ content })
    for (const [at, call] of listOf(message.tool_calls).entries())
      add({ tool_calls: [{ index: at, ...objectOf(call) }] })
    add({}, finish_reason)
  }
  if (includeUsage) chunks.push({ ...frame, choices: [], usage: answer.usage })
  return [...chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`), 'data: [DONE]\n\n']
}

function responseEvents(response: Json): string[] {
  const events: Json[] = []
  const add = (type: string, fields: Json) => events.push({ type, sequence_number: events.length, ...fields })
  const begun = { ...response, status: 'in_progress', output: [], usage: null }
  add('response.created', { response: begun })
  add('response.in_progress', { response: begun })
  for (const [output_index, item] of listOf(response.output).map(objectOf).entries()) {
    const at = { output_index, item_id: item.id }
    add('response.output_item.added', { output_index, item: { ...item, status: 'in_progress', content: [] } })
    for (const [content_index, part] of listOf(item.content).map(objectOf).entries()) {
      if (part.type !== 'output_text' || typeof part.text !== 'string') continue
      add('response.content_part.added', { ...at, content_index, part: { ...part, text: '' } })
      for (const delta of pieces(part.text)) add('response.output_text.delta', { ...at, content_index, delta })
      add('response.output_text.done', { ...at, content_index, text: part.text })
      add('response.content_part.done', { ...at, content_index, part })
    }
    if (item.type === 'function_call' && typeof item.arguments === 'string') {
      add('response.function_call_arguments.delta', { ...at, delta: item.arguments })
      add('response.function_call_arguments.done', { ...at, arguments: item.arguments })
    }
    add('response.output_item.done', { output_index, item })
  }
  add('response.completed', { response })
  return events.map((event) => `event: ${String(event.type)}\ndata: ${JSON.stringify(event)}\n\n`)
}

/** The text in pieces of about twenty characters that end with whitespace; joined they are the text. */
const pieces = (text: string): string[] => text.match(/[\s\S]{1,20}\S{0,40}\s?/g) ?? []

const objectOf = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {})
const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : [])
