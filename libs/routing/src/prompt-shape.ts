import type { DeploymentUrl, RequestBody } from '@sluice/contracts'

/** What a prompt looks like from outside: the facts that scoring and routing go by. */
export interface PromptShape {
  /** Text of the user's last message, where the task usually is. */
  task: string
  /** Text of the user's message before that, empty when there is none. */
  earlier: string
  /** Characters of all text in the prompt, instructions and tool definitions included. */
  chars: number
  userTurns: number
  images: number
  hasAudio: boolean
  tools: number
  hasSchema: boolean
  /** What the caller asks a reasoning model to spend; undefined when not said. */
  effort: string | undefined
  /** Output tokens that the caller allows; undefined when not said. */
  maxOutputTokens: number | undefined
}

/** Reads the shape of a validated body; unknown parts count as nothing, never as an error. */
export function readShape(body: RequestBody, url: DeploymentUrl): PromptShape {
  const shape: PromptShape = {
    task: '',
    earlier: '',
    chars: 0,
    userTurns: 0,
    images: 0,
    hasAudio: false,
    tools: listOf(body.tools).length,
    hasSchema: asksForSchema(body),
    effort: textOf(body.reasoning_effort) ?? textOf(fieldOf(body.reasoning, 'effort')),
    maxOutputTokens:
      numberOf(body.max_completion_tokens) ?? numberOf(body.max_tokens) ?? numberOf(body.max_output_tokens),
  }
  if (shape.tools > 0) shape.chars += JSON.stringify(body.tools).length
  shape.chars += textOf(body.instructions)?.length ?? 0
  if (url === '/v1/chat/completions') for (const message of listOf(body.messages)) addMessage(shape, message)
  else if (typeof body.input === 'string') addText(shape, body.input, 'user')
  else for (const item of listOf(body.input)) addMessage(shape, item)
  return shape
}

function addMessage(shape: PromptShape, message: unknown): void {
  if (typeof message === 'string') return addText(shape, message, 'user')
  const role = textOf(fieldOf(message, 'role')) ?? ''
  const content = fieldOf(message, 'content') ?? fieldOf(message, 'output')
  if (typeof content === 'string') return addText(shape, content, role)
  let text = ''
  for (const part of listOf(content)) {
    const type = textOf(fieldOf(part, 'type')) ?? ''
    if (type === 'image_url' || type === 'input_image') shape.images++
    else if (type === 'input_audio') shape.hasAudio = true
    else text += textOf(fieldOf(part, 'text')) ?? ''
  }
  addText(shape, text, role)
}

function addText(shape: PromptShape, text: string, role: string): void {
  shape.chars += text.length
  if (role !== 'user') return
  shape.userTurns++
  shape.earlier = shape.task
  shape.task = text
}

function asksForSchema(body: RequestBody): boolean {
  const chat = fieldOf(body.response_format, 'type')
  const responses = fieldOf(fieldOf(body.text, 'format'), 'type')
  return chat === 'json_schema' || responses === 'json_schema'
}

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)
const numberOf = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : undefined
