import type { LineUrl, RequestBody } from '@sluice/contracts'
import { readShape } from '../prompt-shape.ts'
import { type AnswerView, viewAnswer } from './answer-view.ts'
import { conforms } from './conforms.ts'
import { hedgesIn, isRefusal } from './hedging.ts'
import { type NumericModel, rightLogOdds, trainedNumericModel } from './numeric-confidence.ts'
import { asksForNumber, readNumericFeatures } from './numeric-features.ts'

/** How far an answer is to be trusted. */
export interface Judgement {
  /** 0 to 1; for worked-out numbers an estimate of the probability that it is right. */
  confidence: number
  /** In a few words, what decided. */
  why: string
}

export interface JudgedAnswer {
  url: LineUrl
  /** The request that was answered. */
  body: RequestBody
  /** The answer as the provider gave it. */
  answer: unknown
  /** Complexity of the prompt, 0 to 1. */
  score: number
}

// The text that is read: reading an endless answer must not hold up a worker.
const longestText = 20_000
// Set by hand, in log-odds: what a hedge takes away and what a fulfilled schema or a valid tool call adds.
const hedgeCost = 0.9
const formBonus = 0.8
// A mean log probability of -0.3 a token says nothing; both ends are bounded, because it measures wording as well.
const neutralLogprob = -0.3
const logprobSlope = 8
const logprobBounds = { least: -3, most: 2.5 }

/**
 * Judges an answer by itself and its prompt, without another call. What cannot be right (a refusal, an empty or cut
 * answer, one that breaks its schema, a tool that does not exist) is decided at once. Otherwise evidence is added up:
 * a trained model where a number had to be worked out, the prompt's complexity elsewhere; the model's own log
 * probabilities where there are any.
 */
export function judgeAnswer(judged: JudgedAnswer, model: NumericModel = trainedNumericModel): Judgement {
  const view = viewAnswer(judged.answer, judged.url)
  const flaw = flawOf(view, judged.body)
  if (flaw !== undefined) return flaw
  const text = view.text.slice(-longestText)
  const { task } = readShape(judged.body, judged.url)
  const prompt = task.slice(-longestText)
  const parts: { amount: number; phrase: string }[] = []
  if (asksForNumber(prompt) && view.toolCalls.length === 0 && schemaOf(judged.body) === undefined) {
    const features = readNumericFeatures(prompt, text, judged.score)
    parts.push({ amount: rightLogOdds(features, model), phrase: 'the steps to its number' })
  } else {
    parts.push({ amount: 1.6 - 2.4 * judged.score, phrase: 'the prompt’s complexity' })
    parts.push({ amount: -hedgeCost * Math.min(2, hedgesIn(text)), phrase: 'doubt in its words' })
    if (view.toolCalls.length > 0) parts.push({ amount: formBonus, phrase: 'valid tool calls' })
    else if (schemaOf(judged.body) !== undefined) parts.push({ amount: formBonus, phrase: 'a valid form' })
  }
  if (view.meanLogprob !== undefined) {
    const raw = (view.meanLogprob - neutralLogprob) * logprobSlope
    parts.push({
      amount: Math.max(logprobBounds.least, Math.min(logprobBounds.most, raw)),
      phrase: 'log probabilities',
    })
  }
  const total = parts.reduce((sum, { amount }) => sum + amount, 0)
  const decisive = parts.toSorted((a, b) => (b.amount - a.amount) * Math.sign(total))[0]
  return { confidence: round(1 / (1 + Math.exp(-total))), why: decisive?.phrase ?? '' }
}

/** What settles the matter whatever else an answer has. */
function flawOf({ text, refused, ended, toolCalls }: AnswerView, body: RequestBody): Judgement | undefined {
  // Content policy is not retried: another model has the same one.
  if (ended === 'filtered') return { confidence: 1, why: 'cut by the content policy' }
  if (refused || isRefusal(text)) return { confidence: 0.05, why: 'a refusal' }
  if (ended === 'cut') return { confidence: 0.2, why: 'cut at its maximum length' }
  if (toolCalls.length > 0) {
    const broken = toolCalls.find((call) => !isValidCall(call, body))
    return broken && { confidence: 0, why: `an invalid call of ${broken.name.slice(0, 64)}` }
  }
  if (text.trim() === '') return { confidence: 0, why: 'an empty answer' }
  const schema = schemaOf(body)
  if (schema === undefined && !asksForJson(body)) return undefined
  const value = parsed(text)
  if (value === undefined) return { confidence: 0, why: 'not JSON' }
  return schema === undefined || conforms(value, schema) ? undefined : { confidence: 0, why: 'breaks its schema' }
}

function isValidCall({ name, arguments: args }: AnswerView['toolCalls'][number], body: RequestBody): boolean {
  const value = parsed(args === '' ? '{}' : args)
  const tools = listOf(body.tools).map(objectOf)
  // Chat nests a tool's fields under `function`, responses do not.
  const tool = tools.map((one): Json => ({ ...one, ...objectOf(one.function) })).find((one) => one.name === name)
  return value !== undefined && tool !== undefined && conforms(value, tool.parameters ?? {})
}

const formatOf = (body: RequestBody): Json => objectOf(body.response_format ?? objectOf(body.text).format)
const asksForJson = (body: RequestBody): boolean => String(formatOf(body).type).startsWith('json_')
function schemaOf(body: RequestBody): unknown {
  const format = formatOf(body)
  if (format.type !== 'json_schema') return undefined
  return objectOf(format.json_schema).schema ?? format.schema ?? {}
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

type Json = Record<string, unknown>
const objectOf = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {})
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
const round = (value: number): number => Math.round(value * 1000) / 1000
