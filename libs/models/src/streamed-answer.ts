type Json = Record<string, unknown>

/** Puts the events of a streamed answer together to the answer that would have come whole. */
export interface StreamedAnswer {
  /** @returns whether the event is output: from then on the answer has begun for whoever listens */
  push(event: unknown): boolean
  /** What an event said went wrong. */
  failure: { code?: unknown; message?: unknown } | undefined
  /** The answer; undefined while it is not complete. */
  whole(): unknown
}

interface Choice {
  message: Json
  toolCalls: Json[]
  fields: Json
  logprobs: Json | undefined
}

/** Chat completions: deltas per choice, usage in a last chunk without choices. */
export class StreamedChat implements StreamedAnswer {
  failure: StreamedAnswer['failure']
  readonly #head: Json = {}
  readonly #choices = new Map<number, Choice>()

  push(event: unknown): boolean {
    const chunk = objectOf(event)
    if (chunk.error !== undefined) {
      this.failure = objectOf(chunk.error)
      return false
    }
    for (const [name, value] of Object.entries(chunk)) {
      // Azure's first chunk, about the prompt's filters, has an empty id and model.
      if (name !== 'choices' && value !== null && value !== '' && value !== 0) this.#head[name] = value
    }
    let output = false
    for (const choice of listOf(chunk.choices)) output = this.#add(objectOf(choice)) || output
    return output
  }

  whole(): unknown {
    const choices = [...this.#choices].toSorted(([a], [b]) => a - b)
    if (choices.length === 0 || choices.some(([, { fields }]) => typeof fields.finish_reason !== 'string'))
      return undefined
    return {
      ...this.#head,
      object: 'chat.completion',
      choices: choices.map(([index, { message, toolCalls, fields, logprobs }]) => ({
        ...fields,
        index,
        message: {
          role: 'assistant',
          content: null,
          refusal: null,
          ...message,
          ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls.map(({ index: _index, ...call }) => call) }),
        },
        logprobs: logprobs ?? null,
      })),
    }
  }

  #add({ index, delta, logprobs, ...fields }: Json): boolean {
    const at = typeof index === 'number' ? index : 0
    let choice = this.#choices.get(at)
    if (choice === undefined) {
      choice = { message: {}, toolCalls: [], fields: {}, logprobs: undefined }
      this.#choices.set(at, choice)
    }
    for (const [name, value] of Object.entries(fields)) if (value !== null) choice.fields[name] = value
    if (typeof logprobs === 'object' && logprobs !== null)
      choice.logprobs = joined(choice.logprobs ?? {}, objectOf(logprobs))
    const { tool_calls, role, ...said } = objectOf(delta)
    if (typeof role === 'string') choice.message.role = role
    choice.message = joined(choice.message, said)
    for (const call of listOf(tool_calls)) addToolCall(choice.toolCalls, objectOf(call))
    return listOf(tool_calls).length > 0 || Object.values(said).some((value) => value !== null && value !== '')
  }
}

/** Responses: the last event holds the answer. */
export class StreamedResponse implements StreamedAnswer {
  failure: StreamedAnswer['failure']
  #whole: unknown

  push(event: unknown): boolean {
    const { type, response, ...fields } = objectOf(event)
    if (type === 'response.failed') this.failure = objectOf(objectOf(response).error)
    else if (type === 'error') this.failure = objectOf(fields.error ?? fields)
    else if (type === 'response.completed' || type === 'response.incomplete') this.#whole = response
    return typeof type === 'string' && /\.delta$|\.done$|completed$|incomplete$/.test(type)
  }

  whole(): unknown {
    return this.#whole
  }
}

function addToolCall(calls: Json[], part: Json): void {
  const known = calls.find(({ index }) => index === part.index)
  if (known === undefined) calls.push(part)
  else Object.assign(known, joined(known, part, ['index', 'id', 'type']))
}

/** Deltas of one message: texts and lists grow, objects are joined field by field, everything else is replaced. */
function joined(before: Json, delta: Json, fixed: readonly string[] = []): Json {
  const result = { ...before }
  for (const [name, value] of Object.entries(delta)) {
    const old = before[name]
    if (value === null && old !== undefined) continue
    if (fixed.includes(name)) result[name] = value
    else if (typeof old === 'string' && typeof value === 'string') result[name] = old + value
    else if (Array.isArray(old) && Array.isArray(value)) result[name] = [...(old as unknown[]), ...(value as unknown[])]
    else if (isObject(old) && isObject(value)) result[name] = joined(old, value, name === 'function' ? ['name'] : [])
    else result[name] = value
  }
  return result
}

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
const objectOf = (value: unknown): Json => (isObject(value) ? value : {})
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
