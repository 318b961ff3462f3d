import { probabilityOf, type Trees } from '../../libs/routing/src/complexity/head.ts'
import { type Binned, binFeatures } from './bins.ts'
import type { Example } from './train-head.ts'

const rounds = 100
const depth = 3
const rate = 0.06
/** L2 penalty on a node's value, and the least curvature that a child must hold. */
const penalty = 10
const minCurvature = 15
const rowShare = 0.7
const featureShare = 0.5

const inner = 2 ** depth - 1
const nodes = 2 * inner + 1

/** What one round works on: a row's slope and curvature of the loss (both 0 when it sits this round out), and its node. */
interface Round {
  binned: Binned
  slopes: Float64Array
  curvatures: Float64Array
  nodeOf: Int32Array
  allowed: boolean[]
}

/** Gradient boosting of the log loss over histograms of the features, with second-order node values. */
export function trainBoosted(examples: readonly Example[], targets: Float64Array, random: () => number): Trees {
  const binned = binFeatures(examples)
  const rows = examples.length
  const mean = targets.reduce((sum, target) => sum + target, 0) / rows
  const bias = Math.log(mean / (1 - mean))
  const logits = new Float64Array(rows).fill(bias)
  const trees: Trees = {
    depth,
    bias,
    features: new Uint8Array(rounds * inner),
    thresholds: new Float32Array(rounds * inner).fill(Infinity),
    values: new Float32Array(rounds * nodes),
  }
  for (let tree = 0; tree < rounds; tree++) {
    const round: Round = {
      binned,
      slopes: new Float64Array(rows),
      curvatures: new Float64Array(rows),
      nodeOf: new Int32Array(rows),
      allowed: Array.from({ length: binned.width }, () => random() < featureShare),
    }
    for (let row = 0; row < rows; row++) {
      if (random() >= rowShare) continue
      const p = probabilityOf(logits[row] as number)
      round.slopes[row] = p - (targets[row] as number)
      round.curvatures[row] = p * (1 - p)
    }
    growTree(trees, tree, round)
    for (let row = 0; row < rows; row++) {
      logits[row] = (logits[row] as number) + (trees.values[tree * nodes + (round.nodeOf[row] as number)] as number)
    }
  }
  return trees
}

function growTree(trees: Trees, tree: number, round: Round): void {
  const { binned, nodeOf } = round
  for (let node = 0; node < inner; node++) {
    const split = bestSplit(round, node)
    if (split) {
      trees.features[tree * inner + node] = split.feature
      trees.thresholds[tree * inner + node] = binned.edges[split.feature]?.[split.bin] as number
    }
    // Without a split everything goes left, to a child of the same value.
    for (let row = 0; row < nodeOf.length; row++) {
      if (nodeOf[row] !== node) continue
      const left = !split || (binned.bins[row * binned.width + split.feature] as number) <= split.bin
      nodeOf[row] = 2 * node + (left ? 1 : 2)
    }
  }
  nodeValues(trees, tree, round)
}

/** Values of the leaves from their rows, and of the inner nodes from all rows below them. */
function nodeValues(trees: Trees, tree: number, { slopes, curvatures, nodeOf }: Round): void {
  const slope = new Float64Array(nodes)
  const curvature = new Float64Array(nodes)
  for (let row = 0; row < nodeOf.length; row++) {
    const leaf = nodeOf[row] as number
    slope[leaf] = (slope[leaf] as number) + (slopes[row] as number)
    curvature[leaf] = (curvature[leaf] as number) + (curvatures[row] as number)
  }
  for (let node = nodes - 1; node >= 0; node--) {
    if (node < inner) {
      slope[node] = (slope[2 * node + 1] as number) + (slope[2 * node + 2] as number)
      curvature[node] = (curvature[2 * node + 1] as number) + (curvature[2 * node + 2] as number)
    }
    trees.values[tree * nodes + node] = (-rate * (slope[node] as number)) / ((curvature[node] as number) + penalty)
  }
}

function bestSplit({ binned, slopes, curvatures, nodeOf, allowed }: Round, node: number) {
  const { width, binCount, bins } = binned
  const slopeSums = new Float64Array(width * binCount)
  const curvatureSums = new Float64Array(width * binCount)
  let [slope, curvature] = [0, 0]
  for (let row = 0; row < nodeOf.length; row++) {
    const h = curvatures[row] as number
    if (nodeOf[row] !== node || h === 0) continue
    const g = slopes[row] as number
    slope += g
    curvature += h
    for (let feature = 0; feature < width; feature++) {
      const slot = feature * binCount + (bins[row * width + feature] as number)
      slopeSums[slot] = (slopeSums[slot] as number) + g
      curvatureSums[slot] = (curvatureSums[slot] as number) + h
    }
  }
  const worth = (g: number, h: number): number => (g * g) / (h + penalty)
  let best: { feature: number; bin: number } | undefined
  let bestGain = 1e-6
  for (let feature = 0; feature < width; feature++) {
    if (!allowed[feature]) continue
    let [left, leftCurvature] = [0, 0]
    for (let bin = 0; bin < binCount - 1; bin++) {
      left += slopeSums[feature * binCount + bin] as number
      leftCurvature += curvatureSums[feature * binCount + bin] as number
      const rightCurvature = curvature - leftCurvature
      if (leftCurvature < minCurvature || rightCurvature < minCurvature) continue
      const gain = worth(left, leftCurvature) + worth(slope - left, rightCurvature) - worth(slope, curvature)
      if (gain > bestGain) {
        bestGain = gain
        best = { feature, bin }
      }
    }
  }
  return best
}
