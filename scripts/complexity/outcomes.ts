import { gunzipSync } from 'node:zlib'
import type { RequestBody } from '@sluice/contracts'
import { denseFeatures } from '../../libs/routing/src/complexity/features.ts'
import { scanText } from '../../libs/routing/src/complexity/scan-text.ts'
import { type PromptShape, readShape } from '../../libs/routing/src/prompt-shape.ts'
import type { Example } from './train-head.ts'

/** One prompt of the data with what both models made of it, quality in 0..1. */
export interface Outcome extends Example {
  source: string
  /** Source and subject: what a fold holds out as a whole. */
  subject: string
  shape: PromptShape
  weak: number
  strong: number
  /** The weak model's text, where the data have it. */
  weakAnswer: string | undefined
}

interface DataRow {
  source: string
  subset: string
  messages: RequestBody['messages']
  weak_ok: number
  strong_ok: number
  weak_answer?: string
}

/** Reads the data file's content: gzip, a JSON object a line. */
export function readOutcomes(content: Buffer): Outcome[] {
  const lines = gunzipSync(content).toString('utf8').split('\n')
  return lines.filter((line) => line !== '').map((line) => outcomeOf(JSON.parse(line) as DataRow))
}

function outcomeOf({ source, subset, messages, weak_ok, strong_ok, weak_answer }: DataRow): Outcome {
  const shape = readShape({ model: 'auto', messages }, '/v1/chat/completions')
  const counts = scanText(shape.task)
  // MT-bench grades from 1 to 10; the others say right or wrong.
  const best = source === 'mt_bench' ? 10 : 1
  return {
    source,
    subject: `${source}/${subset}`,
    shape,
    dense: denseFeatures(counts),
    ngrams: counts.ngrams,
    weak: weak_ok / best,
    strong: strong_ok / best,
    weakAnswer: weak_answer,
  }
}

export const failsTarget = ({ weak }: Outcome): number => 1 - weak

/** For right and wrong: wrong and right. For grades: how much better. */
export const gainsTarget = ({ source, weak, strong }: Outcome): number =>
  source === 'mt_bench' ? Math.max(0, strong - weak) : (1 - weak) * strong

/**
 * Subjects in which the strong model is right less often than by guessing one of four: there its answers were misread,
 * and what it gains cannot be learned. They stay in every measurement.
 */
export function misreadSubjects(outcomes: readonly Outcome[]): Set<string> {
  const bySubject = Map.groupBy(outcomes, ({ subject }) => subject)
  const misread = [...bySubject].filter(
    ([, own]) => own.reduce((sum, { strong }) => sum + strong, 0) / own.length < 0.25,
  )
  return new Set(misread.map(([subject]) => subject))
}
