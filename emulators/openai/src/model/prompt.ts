import type { FilterCategory } from '../http/azure-error.ts'
import { isObject, listOf, textOf } from '../json-fields.ts'
import { hashText } from './seeded-draw.ts'
import { countTokens } from './tokens.ts'

/** What a test writes into a prompt to control the answer; see the README's table of markers. */
interface PromptMarkers {
  difficulty?: number
  answer?: string
  tokens?: number
  filter?: { where: 'prompt' | 'completion'; category: FilterCategory }
  refuse: boolean
}

/** A prompt of any API, reduced to what answers, estimates and hashes depend on. */
export interface Prompt {
  /** All text, in order: the thing that is hashed and whose prefix is cached. */
  text: string
  lastUserText: string
  imageTokens: number
  hasAudio: boolean
  messageCount: number
  /** True when the conversation ends in a tool's result, so that the model answers instead of calling again. */
  endsWithToolResult: boolean
  markers: PromptMarkers
}

const marker = /\[(difficulty|answer|tokens|content_filter|refuse)(?:=([^\]]{0,200}))?\]/g
const categories: readonly FilterCategory[] = ['hate', 'self_harm', 'sexual', 'violence', 'jailbreak']

function filterMarker(value: string): NonNullable<PromptMarkers['filter']> {
  const category = categories.find((name) => value.includes(name)) ?? 'violence'
  return { where: value.startsWith('stream') || value.startsWith('completion') ? 'completion' : 'prompt', category }
}

function readMarkers(text: string): PromptMarkers {
  const markers: PromptMarkers = { refuse: false }
  if (!text.includes('[')) return markers
  for (const [, name, value = ''] of text.matchAll(marker)) {
    const number = Number(value)
    if (name === 'difficulty' && number >= 0 && number <= 1) markers.difficulty = number
    else if (name === 'answer' && value !== '') markers.answer = value
    else if (name === 'tokens' && number >= 1) markers.tokens = Math.min(Math.floor(number), 100_000)
    else if (name === 'content_filter') markers.filter = filterMarker(value)
    else if (name === 'refuse') markers.refuse = true
  }
  return markers
}

const imageTokens = (detail: unknown): number => (detail === 'low' ? 85 : 765)

/** Accepts the message shapes of chat completions, of responses input items and of realtime conversation items. */
export function readPrompt(messages: readonly unknown[], tail = ''): Prompt {
  let text = ''
  let lastUserText = ''
  let images = 0
  let hasAudio = false
  let endsWithToolResult = false
  for (const message of messages) {
    if (!isObject(message)) continue
    let content = ''
    const parts = textOf(message['content']) ?? textOf(message['output']) ?? listOf(message['content'])
    if (typeof parts === 'string') content = parts
    else {
      for (const part of parts) {
        if (!isObject(part)) continue
        const type = part['type']
        if (type === 'image_url') images += imageTokens(isObject(part['image_url']) ? part['image_url']['detail'] : '')
        else if (type === 'input_image') images += imageTokens(part['detail'])
        else if (type === 'input_audio') {
          hasAudio = true
          content += textOf(part['transcript']) ?? ''
        } else content += textOf(part['text']) ?? ''
      }
    }
    if (Array.isArray(message['tool_calls'])) content += JSON.stringify(message['tool_calls'])
    content += textOf(message['arguments']) ?? ''
    const role = message['role']
    endsWithToolResult = role === 'tool' || message['type'] === 'function_call_output'
    if (role === 'user') lastUserText = content
    text += `${typeof role === 'string' ? role : 'tool'}: ${content}\n`
  }
  const whole = tail === '' ? text : text + tail
  return {
    text: whole,
    lastUserText: lastUserText === '' ? text : lastUserText,
    imageTokens: images,
    hasAudio,
    messageCount: messages.length,
    endsWithToolResult,
    markers: readMarkers(text),
  }
}

export const hashPrompt = (prompt: Prompt, seed: number): number => hashText(prompt.text, seed)

/** The tokens that are billed: exact text, three a message, images by detail. */
export const countPromptTokens = (prompt: Prompt): number =>
  countTokens(prompt.text) + prompt.imageTokens + prompt.messageCount + 3

/** The prompt part of Azure's rate-limit estimate, which goes by characters and not by the tokenizer. */
export const estimatePromptTokens = (prompt: Prompt): number => Math.ceil(prompt.text.length / 4) + prompt.imageTokens
