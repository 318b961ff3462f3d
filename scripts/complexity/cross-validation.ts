import { type Head, logOdds } from '../../libs/routing/src/complexity/head.ts'
import type { Model } from '../../libs/routing/src/complexity/packed-model.ts'
import { scoreShape } from '../../libs/routing/src/complexity/score-complexity.ts'
import { calibrate, spreadOf } from './calibration.ts'
import { failsTarget, gainsTarget, misreadSubjects, type Outcome } from './outcomes.ts'
import { seededRandom } from './seeded-random.ts'
import { trainHead } from './train-head.ts'

export interface HeadPair {
  fails: Head
  gains: Head
}

/** What was predicted for one prompt by a model that saw nothing of its fold. */
export interface Prediction {
  outcome: Outcome
  score: number
  fails: number
  gains: number
}

/** Log-odds per prompt of both heads, before calibration. */
export interface RawLogits {
  fails: Float64Array
  gains: Float64Array
}

export function trainHeads(outcomes: readonly Outcome[]): HeadPair {
  const misread = misreadSubjects(outcomes)
  const readable = outcomes.filter(({ subject }) => !misread.has(subject))
  return {
    fails: trainHead(outcomes, Float64Array.from(outcomes, failsTarget)),
    gains: trainHead(readable, Float64Array.from(readable, gainsTarget)),
  }
}

/**
 * Puts calibration and scale, found on log-odds of prompts that the heads did not see, into a model with these heads.
 */
export function calibrated(heads: HeadPair, outcomes: readonly Outcome[], raw: RawLogits): Model {
  const fails = calibrate(raw.fails, Float64Array.from(outcomes, failsTarget))
  const gains = calibrate(raw.gains, Float64Array.from(outcomes, gainsTarget))
  return {
    fails: { ...heads.fails, calibration: fails },
    gains: { ...heads.gains, calibration: gains },
    scale: {
      fails: spreadOf(raw.fails.map((logit) => fails.intercept + fails.slope * logit)),
      gains: spreadOf(raw.gains.map((logit) => gains.intercept + gains.slope * logit)),
      length: spreadOf(Float64Array.from(outcomes, ({ shape }) => Math.log2(1 + shape.task.length))),
    },
  }
}

/**
 * Trains on all folds but one, in turn. Calibration and scale of a fold's model come from the predictions for the other
 * folds, so that nothing of a prompt's fold is in what predicts it.
 */
export function crossValidate(outcomes: readonly Outcome[], folds: Int32Array) {
  const count = Math.max(...folds) + 1
  const raw = { fails: new Float64Array(outcomes.length), gains: new Float64Array(outcomes.length) }
  const heads: HeadPair[] = []
  for (let fold = 0; fold < count; fold++) {
    const own = trainHeads(outcomes.filter((_, at) => folds[at] !== fold))
    heads.push(own)
    for (const [at, { dense, ngrams }] of outcomes.entries()) {
      if (folds[at] !== fold) continue
      raw.fails[at] = logOdds(own.fails, dense, ngrams)
      raw.gains[at] = logOdds(own.gains, dense, ngrams)
    }
  }
  const models = heads.map((own, fold) => {
    const others = (_: unknown, at: number): boolean => folds[at] !== fold
    return calibrated(own, outcomes.filter(others), {
      fails: raw.fails.filter(others),
      gains: raw.gains.filter(others),
    })
  })
  const predictions = outcomes.map((outcome, at): Prediction => {
    const { score, heads: own } = scoreShape(outcome.shape, models[folds[at] as number])
    return { outcome, score, fails: own.weakFails, gains: own.strongHelps }
  })
  return { raw, predictions }
}

/** Folds of about equal size that hold a subject as a whole; `spread` sources are dealt out row by row instead. */
export function foldsBySubject(
  outcomes: readonly Outcome[],
  count: number,
  seed: number,
  spread: string[],
): Int32Array {
  const random = seededRandom(seed)
  const sizes = new Map<string, number>()
  for (const { subject } of outcomes) sizes.set(subject, (sizes.get(subject) ?? 0) + 1)
  // Largest first, each to the smallest fold; the seed stirs who is large.
  const order = [...sizes].map(([subject, size]) => ({ subject, size, place: size * (0.5 + random()) }))
  const loads = Array.from({ length: count }, () => 0)
  const foldOf = new Map<string, number>()
  for (const { subject, size } of order.toSorted((a, b) => b.place - a.place)) {
    if (spread.includes(subject.split('/')[0] ?? '')) continue
    const fold = loads.indexOf(Math.min(...loads))
    loads[fold] = (loads[fold] ?? 0) + size
    foldOf.set(subject, fold)
  }
  return Int32Array.from(outcomes, ({ subject }, at) => foldOf.get(subject) ?? at % count)
}
