import { type Linear, probabilityOf } from '../../libs/routing/src/complexity/head.ts'
import { ngramBuckets } from '../../libs/routing/src/complexity/ngram-set.ts'
import { shuffle } from './seeded-random.ts'
import type { Example } from './train-head.ts'

const epochs = 3
const rate = 0.01
const penalty = 0.0003

/**
 * Logistic regression on the n-grams by AdaGrad, on top of the log-odds that are known already. A prompt's buckets
 * weigh 1/√n each, so that long texts do not shout.
 */
export function trainNgrams(
  examples: readonly Example[],
  targets: Float64Array,
  offsets: Float64Array,
  random: () => number,
): Pick<Linear, 'ngrams' | 'step'> {
  const weights = new Float64Array(ngramBuckets)
  const squares = new Float64Array(ngramBuckets).fill(0.01)
  const order = Int32Array.from(examples.keys())
  for (let epoch = 0; epoch < epochs; epoch++) {
    shuffle(order, random)
    for (const at of order) {
      const { ngrams } = examples[at] as Example
      const scale = 1 / Math.sqrt(Math.max(1, ngrams.length))
      let sum = 0
      for (const bucket of ngrams) sum += weights[bucket] as number
      const error = probabilityOf((offsets[at] as number) + scale * sum) - (targets[at] as number)
      for (const bucket of ngrams) {
        const weight = weights[bucket] as number
        const slope = error * scale + penalty * weight
        const square = (squares[bucket] as number) + slope * slope
        squares[bucket] = square
        weights[bucket] = weight - (rate * slope) / Math.sqrt(square)
      }
    }
  }
  const step = weights.reduce((most, weight) => Math.max(most, Math.abs(weight)), 1e-9) / 127
  return { ngrams: Int8Array.from(weights, (weight) => Math.round(weight / step)), step }
}
