import type { DeploymentUrl, RequestBody } from '@sluice/contracts'
import { type PromptShape, readShape } from '../prompt-shape.ts'
import { demandOf, plusDemand, type Push } from './demand.ts'
import { denseFeatures, features } from './features.ts'
import { addPushes, distanceOf, logOdds, probabilityOf } from './head.ts'
import type { Model } from './packed-model.ts'
import { scanText } from './scan-text.ts'
import type { TextCounts } from './text-counts.ts'
import { trainedModel } from './trained-model.ts'

/** How hard a prompt looks. */
export interface Complexity {
  /** 0 for a greeting, 1 for the hardest. */
  score: number
  /** In a few words, what pushed the score most; put together when it is read, which most calls never do. */
  readonly why: string
  /** What the trained heads say, before the conversation's shape: probabilities for an exam question like this. */
  heads: {
    /** That a weak model's answer is wrong. */
    weakFails: number
    /** That it is wrong and a strong model's is right. */
    strongHelps: number
  }
}

/**
 * Scores a request's complexity from its text and shape alone: pure, without I/O, in bounded time (of a long message
 * its first 6,000 and its last 4,000 characters are read).
 */
export function scoreComplexity(body: RequestBody, url: DeploymentUrl): Complexity {
  return scoreShape(readShape(body, url))
}

// How much of the trained part each quantity is, per standard deviation over the training prompts. Chosen by
// cross-validation grouped by subject: who gains orders prompts best, who fails keeps kinds of prompt comparable, and
// length, which no fold found useless, keeps both in check on subjects that training never saw.
const portions = { gains: 0.75, fails: 0.3, length: 0.55 }
const offset = -0.4
// Without text there is nothing learned: an empty prompt, a picture alone, emoji, base64 and filler that repeats itself
// go by the conversation's shape.
const unreadable = -2.5

/** {@link scoreComplexity} of a prompt that was already read, by the given model. */
export function scoreShape(shape: PromptShape, model: Model = trainedModel): Complexity {
  const text = clip(taskOf(shape))
  const counts = scanText(text)
  const dense = denseFeatures(counts)
  const gains = logOdds(model.gains, dense, counts.ngrams)
  const fails = logOdds(model.fails, dense, counts.ngrams)
  const { scale } = model
  const learned = isText(counts)
    ? perUnit(model, 'gains') * (gains - scale.gains.mean) +
      perUnit(model, 'fails') * (fails - scale.fails.mean) +
      lengthPush(text.length, model)
    : unreadable
  return {
    score: Math.round(probabilityOf(plusDemand(offset + learned, counts, shape)) * 10_000) / 10_000,
    get why() {
      return explain([...demandOf(counts, shape), ...learnedPushes(counts, dense, model)])
    },
    heads: { weakFails: probabilityOf(fails), strongHelps: probabilityOf(gains) },
  }
}

function learnedPushes(counts: TextCounts, dense: Float64Array, model: Model): Push[] {
  if (!isText(counts)) return [{ phrase: 'hardly any text', amount: unreadable }]
  const pushes = new Float64Array(dense.length)
  addPushes(model.gains, dense, pushes, perUnit(model, 'gains'))
  addPushes(model.fails, dense, pushes, perUnit(model, 'fails'))
  const length = lengthPush(counts.chars, model)
  const phrase = length > 0 ? 'long prompt' : 'short prompt'
  return [{ phrase, amount: length }, ...namedPushes(model, dense, pushes)]
}

const perUnit = ({ scale }: Model, quantity: keyof Model['scale']): number =>
  portions[quantity] / scale[quantity].deviation

/** In 10,000 characters of prose about every fourth word is new, in scripts without spaces fewer: a twentieth is a low bar. */
const isText = ({ words, distinctWords, wordLetters }: TextCounts): boolean =>
  words > 0 && distinctWords * 20 >= words && wordLetters <= 30 * words

/** What length alone says; more than two and a half deviations say no more than that. */
function lengthPush(chars: number, { scale: { length } }: Model): number {
  const distance = (Math.log2(1 + chars) - length.mean) / length.deviation
  return portions.length * Math.max(-2.5, Math.min(2.5, distance))
}

/** What the features that a prompt has more of than an average one contributed; a lack has no name. */
function namedPushes({ gains }: Model, dense: Float64Array, pushes: Float64Array): Push[] {
  return features.flatMap(({ phrase }, at) =>
    distanceOf(gains.linear, at, dense[at] ?? 0) > 0 ? [{ phrase, amount: pushes[at] ?? 0 }] : [],
  )
}

/** The pushes that count, strongest first: up to three that raise the score, and one that lowers it. */
function explain(pushes: readonly Push[]): string {
  const amounts = new Map<string, number>()
  for (const { phrase, amount } of pushes) amounts.set(phrase, (amounts.get(phrase) ?? 0) + amount)
  const sorted = [...amounts].toSorted((a, b) => b[1] - a[1])
  const raising = sorted.filter(([, amount]) => amount > 0.08).slice(0, 3)
  const lowering = sorted.filter(([, amount]) => amount < -0.08).slice(-1)
  const text = raising.length === 0 ? 'nothing that looks hard' : raising.map(([phrase]) => phrase).join(', ')
  return lowering.reduce((so, [phrase]) => `${so}; lowered by: ${phrase}`, text)
}

// A follow-up of a few words ("and in Rust?") asks for what was asked before.
const followUpChars = 80

const taskOf = ({ task, earlier }: PromptShape): string =>
  task.length <= followUpChars && earlier !== '' ? `${clip(earlier)}\n${task}` : task

// The instruction stands at a long prompt's beginning or end; what is between them is mostly material.
const clip = (text: string): string => (text.length <= 10_000 ? text : `${text.slice(0, 6_000)}\n${text.slice(-4_000)}`)
