import type { Head, Linear } from '../../libs/routing/src/complexity/head.ts'
import { distanceOf } from '../../libs/routing/src/complexity/head.ts'
import { trainBoosted } from './boosted-trees.ts'
import { fitDense } from './dense-regression.ts'
import { trainNgrams } from './ngram-regression.ts'
import { seededRandom } from './seeded-random.ts'

/** A prompt as training sees it. */
export interface Example {
  dense: Float64Array
  ngrams: readonly number[]
}

/**
 * Trains one head on targets in 0..1: a regression on the dense features, one on the n-grams for what that leaves
 * unexplained, and trees. Uncalibrated; the same examples give the same head.
 */
export function trainHead(examples: readonly Example[], targets: Float64Array): Head {
  const dense = fitDense(examples, targets)
  const linear: Linear = { ...dense, ngrams: new Int8Array(0), step: 0 }
  const offsets = Float64Array.from(examples, (example) => {
    let sum = linear.bias
    for (let f = 0; f < example.dense.length; f++) {
      sum += distanceOf(linear, f, example.dense[f] as number) * (linear.weights[f] as number)
    }
    return sum
  })
  Object.assign(linear, trainNgrams(examples, targets, offsets, seededRandom(7)))
  const trees = trainBoosted(examples, targets, seededRandom(9))
  return { linear, trees, calibration: { slope: 1, intercept: 0 } }
}
