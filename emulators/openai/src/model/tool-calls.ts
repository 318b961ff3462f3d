import { salientWords } from './answer-text.ts'
import type { Json } from '../json-fields.ts'
import type { Prompt } from './prompt.ts'
import { instanceOf } from './schema-instance.ts'
import type { Draws } from './seeded-draw.ts'
import { splitTokens } from './tokens.ts'

export interface ToolDefinition {
  name: string
  description: string
  parameters: Json
}

export interface ToolRequest {
  definitions: readonly ToolDefinition[]
  /** `auto` calls a tool unless the conversation ends in a tool's result. */
  choice: 'none' | 'auto' | 'required' | { name: string }
  parallel: boolean
}

export interface ToolCall {
  id: string
  name: string
  pieces: string[]
}

const wordsOf = (text: string): Set<string> => new Set(text.toLowerCase().match(/\p{L}{3,}/gu) ?? [])

/** Words that a tool's name and description share with the prompt; names written_like_this or likeThis are split. */
function relevance(tool: ToolDefinition, promptWords: Set<string>): number {
  const spelled = tool.name.replaceAll(/([a-z])([A-Z])/g, '$1 $2').replaceAll(/[_-]/g, ' ')
  let shared = 0
  for (const word of wordsOf(`${spelled} ${tool.description}`)) if (promptWords.has(word)) shared++
  return shared
}

/** Calls the tool that fits the prompt best, and a second relevant one when parallel calls are allowed. */
export function callTools(request: ToolRequest, prompt: Prompt, draws: Draws): ToolCall[] {
  const { definitions, choice } = request
  if (definitions.length === 0 || choice === 'none') return []
  if (choice === 'auto' && prompt.endsWithToolResult) return []
  const promptWords = wordsOf(prompt.lastUserText.slice(0, 4_000))
  const named = typeof choice === 'object' ? definitions.filter((tool) => tool.name === choice.name) : definitions
  const ranked = named
    .map((tool) => ({ tool, score: relevance(tool, promptWords) }))
    .sort((left, right) => right.score - left.score)
  const second = ranked[1]
  const called = request.parallel && second && second.score >= 2 ? ranked.slice(0, 2) : ranked.slice(0, 1)
  const subjects = salientWords(prompt.lastUserText)
  const answer = prompt.markers.answer
  return called.map(({ tool }) => {
    const id = `call_${Array.from({ length: 3 }, () => draws.between(0, 0xffffffff).toString(36).padStart(7, '0')).join('')}`
    return {
      id,
      name: tool.name,
      pieces: splitTokens(JSON.stringify(instanceOf(tool.parameters, { draws, subjects, answer }))),
    }
  })
}
