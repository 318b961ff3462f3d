import type { LineUrl } from '@sluice/contracts'

/** A function that the model wants called. */
export interface ToolCall {
  name: string
  /** As the model wrote it: JSON, or what should have been. */
  arguments: string
}

/** What a judge looks at in an answer, whichever endpoint it came from. */
export interface AnswerView {
  text: string
  /** The answer has a refusal of its own, apart from its text. */
  refused: boolean
  ended: 'complete' | 'cut' | 'filtered'
  toolCalls: readonly ToolCall[]
  /** Mean log probability of the answer's tokens; undefined when the provider did not say. */
  meanLogprob: number | undefined
}

/** Reads the first choice of a chat completion, or a response. */
export function viewAnswer(body: unknown, url: LineUrl): AnswerView {
  return url === '/v1/responses' ? viewResponse(objectOf(body)) : viewChat(objectOf(body))
}

function viewChat(body: Json): AnswerView {
  const choice = objectOf(listOf(body.choices)[0])
  const message = objectOf(choice.message)
  const finish = choice.finish_reason
  return {
    text: textOf(message.content),
    refused: textOf(message.refusal) !== '',
    ended: finish === 'length' ? 'cut' : finish === 'content_filter' ? 'filtered' : 'complete',
    toolCalls: listOf(message.tool_calls).map((call) => {
      const { name, arguments: args } = objectOf(objectOf(call).function)
      return { name: textOf(name), arguments: textOf(args) }
    }),
    meanLogprob: meanOf(listOf(objectOf(choice.logprobs).content)),
  }
}

function viewResponse(body: Json): AnswerView {
  const items = listOf(body.output).map(objectOf)
  const parts = items.flatMap((item) => listOf(item.content).map(objectOf))
  const reason = objectOf(body.incomplete_details).reason
  const ended = body.status !== 'incomplete' ? 'complete' : reason === 'content_filter' ? 'filtered' : 'cut'
  return {
    text: parts.map(({ type, text }) => (type === 'output_text' ? textOf(text) : '')).join(''),
    refused: parts.some(({ type }) => type === 'refusal'),
    ended,
    toolCalls: items
      .filter(({ type }) => type === 'function_call')
      .map(({ name, arguments: args }) => ({ name: textOf(name), arguments: textOf(args) })),
    meanLogprob: meanOf(parts.flatMap(({ logprobs }) => listOf(logprobs))),
  }
}

function meanOf(tokens: readonly unknown[]): number | undefined {
  const values = tokens.map((token) => objectOf(token).logprob).filter((value) => typeof value === 'number')
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length
}

type Json = Record<string, unknown>
const objectOf = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {})
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')
