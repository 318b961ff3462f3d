import { judge } from './ability.ts'
import type { Verdict } from './ability.ts'
import { refusalText, salientWords, wrongAnswer, writeAnswer } from './answer-text.ts'
import type { FilterCategory } from '../http/azure-error.ts'
import type { DeploymentSettings } from '../config.ts'
import type { Json } from '../json-fields.ts'
import { instanceOf } from './schema-instance.ts'
import type { Prompt } from './prompt.ts'
import { Draws, hashText } from './seeded-draw.ts'
import { splitTokens } from './tokens.ts'
import { callTools } from './tool-calls.ts'
import type { ToolCall, ToolRequest } from './tool-calls.ts'

type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter'

export type OutputFormat = { type: 'text' } | { type: 'json_object' } | { type: 'json_schema'; schema: Json }

/** What a call asks of the model, whichever API it came through. */
export interface GenerationRequest {
  prompt: Prompt
  promptHash: number
  maxTokens: number | undefined
  choices: number
  stop: readonly string[]
  tools: ToolRequest
  format: OutputFormat
  reasoningEffort: string | undefined
}

export interface Choice {
  pieces: string[]
  /** One log probability a piece. */
  logprobs: number[]
  toolCalls: ToolCall[]
  finish: FinishReason
  refusal: boolean
  filtered?: FilterCategory
  verdict: Verdict
}

export interface Generation {
  /** The model that answered: the deployment's, or the one that a model router chose. */
  model: string
  choices: Choice[]
  reasoningTokens: number
  /** Output tokens of all choices and tool calls, reasoning included. */
  completionTokens: number
}

export const reasons = (model: string): boolean => /^(o\d|gpt-5)/.test(model) && !/chat/.test(model)

const efforts: Record<string, number> = { none: 0, minimal: 0.1, low: 0.4, medium: 1, high: 2.5 }

/** A model router sends easy prompts to its first model and hard ones to its last, misjudging some. */
function chooseModel(settings: DeploymentSettings, request: GenerationRequest): { model: string; ability: number } {
  if (settings.kind !== 'model-router') return { model: settings.model, ability: settings.ability }
  const draws = new Draws(request.promptHash ^ 0x20f7)
  const { difficulty } = judge(request.promptHash, '', 1, 0, request.prompt.markers.difficulty)
  const seen = Math.min(0.999, Math.max(0, difficulty + (draws.next() - 0.5) * 0.2))
  const index = Math.floor(seen * settings.routes_to.length)
  const model = settings.routes_to[index] ?? settings.model
  // The strongest target has the deployment's ability; each step down loses a tenth.
  return { model, ability: Math.max(0, settings.ability - 0.1 * (settings.routes_to.length - 1 - index)) }
}

/** Mean log probability of an answer: right ones near 0, wrong ones lower, with enough overlap to be worth judging. */
function drawLogprobs(count: number, right: boolean, draws: Draws): number[] {
  const scale = right ? 0.05 + 0.25 * draws.next() : 0.2 + 0.7 * draws.next()
  return Array.from({ length: count }, () => -scale * -Math.log(1 - draws.next() * 0.999))
}

function cutAtStop(text: string, stops: readonly string[]): string {
  let end = text.length
  for (const stop of stops) {
    const at = stop === '' ? -1 : text.indexOf(stop)
    if (at >= 0 && at < end) end = at
  }
  return text.slice(0, end)
}

/** Repeats or cuts a text to exactly so many tokens, for prompts that ask for a length. */
function fitTokens(pieces: readonly string[], count: number): string[] {
  return Array.from({ length: count }, (_, i) => pieces[i % pieces.length] ?? ' ')
}

function formattedText(request: GenerationRequest, verdict: Verdict, draws: Draws): string {
  const { prompt, format } = request
  const subjects = salientWords(prompt.lastUserText)
  const answer = prompt.markers.answer
  if (format.type === 'text') return writeAnswer({ right: verdict.right, subjects, answer }, draws)
  const stated = answer === undefined || verdict.right ? answer : wrongAnswer(answer, draws)
  if (format.type === 'json_schema')
    return JSON.stringify(instanceOf(format.schema, { draws, subjects, answer: stated }))
  const text = writeAnswer({ right: verdict.right, subjects, answer: undefined }, draws)
  return JSON.stringify({ answer: stated ?? text, subjects })
}

function generateChoice(
  request: GenerationRequest,
  model: string,
  ability: number,
  index: number,
  budget: number,
): Choice {
  const { prompt, promptHash } = request
  const { markers } = prompt
  const draws = new Draws(promptHash ^ hashText(`${model}/${index}`))
  const verdict = judge(promptHash, model, ability, index, markers.difficulty)
  const toolCalls = markers.refuse ? [] : callTools(request.tools, prompt, draws)
  if (toolCalls.length > 0) {
    return { pieces: [], logprobs: [], toolCalls, finish: 'tool_calls', refusal: false, verdict }
  }
  const text = markers.refuse ? refusalText(draws) : formattedText(request, verdict, draws)
  const wanted = request.stop.length > 0 ? cutAtStop(text, request.stop) : text
  let pieces = wanted === '' ? [] : splitTokens(wanted)
  if (markers.tokens !== undefined && request.format.type === 'text')
    pieces = fitTokens(pieces, Math.min(markers.tokens, budget + 1))
  let finish: FinishReason = 'stop'
  if (pieces.length > budget) {
    pieces = pieces.slice(0, budget)
    finish = 'length'
  }
  const choice: Choice = {
    pieces,
    logprobs: drawLogprobs(pieces.length, verdict.right, draws),
    toolCalls,
    finish,
    refusal: markers.refuse,
    verdict,
  }
  if (markers.filter?.where === 'completion') {
    choice.pieces = pieces.slice(0, Math.ceil(pieces.length / 2))
    choice.finish = 'content_filter'
    choice.filtered = markers.filter.category
  }
  return choice
}

/**
 * The model's answer: a pure function of the deployment's settings, the request and the seed inside its prompt hash.
 * A reasoning model spends tokens before it writes; when they use up the maximum, it ends with `length` and no text.
 */
export function generate(settings: DeploymentSettings, request: GenerationRequest): Generation {
  const { model, ability } = chooseModel(settings, request)
  const limit = Math.min(request.maxTokens ?? settings.max_output_tokens, settings.max_output_tokens)
  let reasoningTokens = 0
  if (reasons(model)) {
    const draws = new Draws(request.promptHash ^ 0x7e45)
    const effort = efforts[request.reasoningEffort ?? 'medium'] ?? 1
    reasoningTokens = Math.min(limit, Math.round(draws.between(1, 8) * 64 * effort))
  }
  const choices = Array.from({ length: request.choices }, (_, index) =>
    generateChoice(request, model, ability, index, limit - reasoningTokens),
  )
  let completionTokens = reasoningTokens
  for (const choice of choices) {
    completionTokens += choice.pieces.length
    for (const call of choice.toolCalls) completionTokens += call.pieces.length + 6
  }
  return { model, choices, reasoningTokens, completionTokens }
}
