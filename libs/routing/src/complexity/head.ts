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

/** A head's log-odds for one prompt. */
export function logOdds(head: Head, dense: Float64Array, ngrams: readonly number[]): number {
  const { linear, trees, calibration } = head
  return (
    calibration.intercept + (calibration.slope / 2) * (linearLogit(linear, dense, ngrams) + treesLogit(trees, dense))
  )
}

/** Adds to `pushes`, times `share`, what each dense feature contributed to {@link logOdds}, compared to an average prompt. */
export function addPushes(
  { linear, trees, calibration }: Head,
  dense: Float64Array,
  pushes: Float64Array,
  share: number,
) {
  const scale = (share * calibration.slope) / 2
  for (let feature = 0; feature < dense.length; feature++) {
    const push = distanceOf(linear, feature, dense[feature] as number) * (linear.weights[feature] as number)
    pushes[feature] = (pushes[feature] as number) + scale * push
  }
  const inner = 2 ** trees.depth - 1
  const nodes = 2 * inner + 1
  for (let first = 0, at = 0; at < trees.features.length; at += inner, first += nodes) {
    for (let node = 0; node < inner;) {
      const feature = trees.features[at + node] as number
      const child = childOf(trees, at, node, dense)
      const step = (trees.values[first + child] as number) - (trees.values[first + node] as number)
      pushes[feature] = (pushes[feature] as number) + scale * step
      node = child
    }
  }
}

function linearLogit(linear: Linear, dense: Float64Array, ngrams: readonly number[]): number {
  let sum = linear.bias
  for (let feature = 0; feature < dense.length; feature++) {
    sum += distanceOf(linear, feature, dense[feature] as number) * (linear.weights[feature] as number)
  }
  let steps = 0
  for (let at = 0; at < ngrams.length; at++) steps += linear.ngrams[ngrams[at] as number] as number
  return sum + (steps * linear.step) / Math.sqrt(Math.max(1, ngrams.length))
}

function treesLogit(trees: Trees, dense: Float64Array): number {
  const inner = 2 ** trees.depth - 1
  const nodes = 2 * inner + 1
  let sum = trees.bias
  for (let first = 0, at = 0; at < trees.features.length; at += inner, first += nodes) {
    let node = 0
    while (node < inner) node = childOf(trees, at, node, dense)
    sum += trees.values[first + node] as number
  }
  return sum
}

/** @param at the tree's first inner node among those of all trees. @returns where a prompt goes on from `node` */
function childOf({ features, thresholds }: Trees, at: number, node: number, dense: Float64Array): number {
  const value = Math.fround(dense[features[at + node] as number] as number)
  return 2 * node + (value <= (thresholds[at + node] as number) ? 1 : 2)
}

export const probabilityOf = (logOdds: number): number => 1 / (1 + Math.exp(-logOdds))
