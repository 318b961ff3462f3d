/** Trees of one depth, one after the other: node n of a tree has the children 2n+1 and 2n+2, inner nodes come first. */
export interface Trees {
  depth: number
  bias: number
  /** Per inner node: the feature it looks at, and the greatest value that goes left. */
  features: Uint8Array
  thresholds: Float32Array
  /** Per node, leaves included: what a prompt that gets there is worth, so that a path explains itself step by step. */
  values: Float32Array
}

export interface Linear {
  bias: number
  /** Per dense feature: centre, spread, and weight of the distance from the centre in spreads. */
  means: Float32Array
  spreads: Float32Array
  weights: Float32Array
  /** Weights of the n-gram buckets, in steps of `step`. */
  ngrams: Int8Array
  step: number
}

/** Estimates one probability: the mean of a linear model's and the trees' log-odds, stretched to be calibrated. */
export interface Head {
  linear: Linear
  trees: Trees
  calibration: { slope: number; intercept: number }
}

// A feature far beyond what training saw says no more than one at the edge of it.
const reach = 3

/** A dense feature's distance from its centre, in spreads. */
export function distanceOf({ means, spreads }: Linear, feature: number, value: number): number {
  const distance = (value - (means[feature] as number)) / (spreads[feature] as number)
  return Math.max(-reach, Math.min(reach, distance))
}

/**
 * A head's log-odds for one prompt. What each dense feature contributed, compared to an average prompt, is added to
 * `pushes`, times `share`.
 */
export function logOdds(
  head: Head,
  dense: Float64Array,
  ngrams: readonly number[],
  pushes: Float64Array,
  share = 1,
): number {
  const { linear, trees, calibration } = head
  const half = calibration.slope / 2
  const scale = share * half
  const raw = linearLogit(linear, dense, ngrams, pushes, scale) + treesLogit(trees, dense, pushes, scale)
  return calibration.intercept + half * raw
}

function linearLogit(
  linear: Linear,
  dense: Float64Array,
  ngrams: readonly number[],
  pushes: Float64Array,
  scale: number,
): number {
  let sum = linear.bias
  for (let feature = 0; feature < dense.length; feature++) {
    const push = distanceOf(linear, feature, dense[feature] as number) * (linear.weights[feature] as number)
    sum += push
    pushes[feature] = (pushes[feature] as number) + scale * push
  }
  let steps = 0
  for (const bucket of ngrams) steps += linear.ngrams[bucket] as number
  return sum + (steps * linear.step) / Math.sqrt(Math.max(1, ngrams.length))
}

function treesLogit(trees: Trees, dense: Float64Array, pushes: Float64Array, scale: number): number {
  const inner = 2 ** trees.depth - 1
  const nodes = 2 * inner + 1
  const count = trees.features.length / inner
  let sum = trees.bias
  for (let tree = 0; tree < count; tree++) {
    let node = 0
    while (node < inner) {
      const at = tree * inner + node
      const feature = trees.features[at] as number
      const left = Math.fround(dense[feature] as number) <= (trees.thresholds[at] as number)
      const child = 2 * node + (left ? 1 : 2)
      const step = (trees.values[tree * nodes + child] as number) - (trees.values[tree * nodes + node] as number)
      pushes[feature] = (pushes[feature] as number) + scale * step
      node = child
    }
    sum += trees.values[tree * nodes + node] as number
  }
  return sum
}

export const probabilityOf = (logOdds: number): number => 1 / (1 + Math.exp(-logOdds))
