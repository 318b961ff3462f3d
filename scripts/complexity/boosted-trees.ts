import { sigmoid } from './logistic-regression.ts'

/**
 * A complete binary tree: node n has the children 2n+1 and 2n+2. Inner nodes go left at `value <= threshold`; every
 * node carries its mean contribution, so that a path explains itself by the differences along it.
 */
export interface Tree {
  features: Uint8Array
  thresholds: Float32Array
  values: Float32Array
}

export interface Boosted {
  bias: number
  trees: Tree[]
}

interface Options {
  trees: number
  depth: number
  rate: number
  /** L2 penalty on a node's value. */
  penalty: number
  minWeight: number
  rowShare: number
  featureShare: number
  bins: number
  random: () => number
}

interface Dense {
  values: Float64Array[]
  targets: Float64Array
  weights: Float64Array
}

/** Gradient boosting of the log loss over histograms of the features (Friedman 2001, with second-order leaf values). */
export function trainBoosted({ values, targets, weights }: Dense, options: Options): Boosted {
  const { depth, rate, penalty, minWeight, bins, random } = options
  const rows = values.length
  const width = values[0]?.length ?? 0
  const edges = Array.from({ length: width }, (_, f) => quantiles(values, f, bins))
  const binned = new Uint8Array(rows * width)
  for (let row = 0; row < rows; row++) {
    const dense = values[row] as Float64Array
    for (let f = 0; f < width; f++) binned[row * width + f] = binOf(edges[f] as Float32Array, dense[f] as number)
  }
  let total = 0
  let hits = 0
  for (let row = 0; row < rows; row++) {
    total += weights[row] as number
    hits += (weights[row] as number) * (targets[row] as number)
  }
  const bias = Math.log(hits / (total - hits))
  const logits = new Float64Array(rows).fill(bias)
  const gradients = new Float64Array(rows)
  const hessians = new Float64Array(rows)
  const nodes = 2 ** (depth + 1) - 1
  const inner = 2 ** depth - 1
  const nodeOf = new Int32Array(rows)
  const trees: Tree[] = []
  const gradientSums = new Float64Array(width * bins)
  const hessianSums = new Float64Array(width * bins)

  for (let round = 0; round < options.trees; round++) {
    for (let row = 0; row < rows; row++) {
      const p = sigmoid(logits[row] as number)
      const used = random() < options.rowShare ? (weights[row] as number) : 0
      gradients[row] = used * (p - (targets[row] as number))
      hessians[row] = used * p * (1 - p)
    }
    const allowed = Array.from({ length: width }, () => random() < options.featureShare)
    const tree: Tree = {
      features: new Uint8Array(inner),
      thresholds: new Float32Array(inner).fill(Infinity),
      values: new Float32Array(nodes),
    }
    nodeOf.fill(0)
    for (let node = 0; node < inner; node++) {
      gradientSums.fill(0)
      hessianSums.fill(0)
      for (let row = 0; row < rows; row++) {
        if (nodeOf[row] !== node || hessians[row] === 0) continue
        const from = row * width
        const g = gradients[row] as number
        const h = hessians[row] as number
        for (let f = 0; f < width; f++) {
          const slot = f * bins + (binned[from + f] as number)
          gradientSums[slot] = (gradientSums[slot] as number) + g
          hessianSums[slot] = (hessianSums[slot] as number) + h
        }
      }
      let G = 0
      let H = 0
      for (let b = 0; b < bins; b++) {
        G += gradientSums[b] as number
        H += hessianSums[b] as number
      }
      tree.values[node] = (-rate * G) / (H + penalty)
      let best = 1e-6
      let bestFeature = -1
      let bestBin = 0
      for (let f = 0; f < width; f++) {
        if (!allowed[f]) continue
        let left = 0
        let leftH = 0
        for (let b = 0; b < bins - 1; b++) {
          left += gradientSums[f * bins + b] as number
          leftH += hessianSums[f * bins + b] as number
          if (leftH < minWeight || H - leftH < minWeight) continue
          const right = G - left
          const gain =
            (left * left) / (leftH + penalty) + (right * right) / (H - leftH + penalty) - (G * G) / (H + penalty)
          if (gain > best) {
            best = gain
            bestFeature = f
            bestBin = b
          }
        }
      }
      if (bestFeature >= 0) {
        tree.features[node] = bestFeature
        tree.thresholds[node] = (edges[bestFeature] as Float32Array)[bestBin] as number
      }
      for (let row = 0; row < rows; row++) {
        if (nodeOf[row] !== node) continue
        const left = bestFeature < 0 || (binned[row * width + bestFeature] as number) <= bestBin
        nodeOf[row] = left ? 2 * node + 1 : 2 * node + 2
      }
      if (bestFeature < 0) {
        // A node that does not split sends everything left, to a child of its own value.
        tree.values[2 * node + 1] = tree.values[node] as number
      }
    }
    leafValues(tree, inner, nodeOf, gradients, hessians, rate, penalty)
    for (let row = 0; row < rows; row++) {
      logits[row] = (logits[row] as number) + (tree.values[nodeOf[row] as number] as number)
    }
    trees.push(tree)
  }
  return { bias, trees }
}

function leafValues(
  tree: Tree,
  inner: number,
  nodeOf: Int32Array,
  gradients: Float64Array,
  hessians: Float64Array,
  rate: number,
  penalty: number,
): void {
  const G = new Float64Array(tree.values.length)
  const H = new Float64Array(tree.values.length)
  for (let row = 0; row < nodeOf.length; row++) {
    const node = nodeOf[row] as number
    G[node] = (G[node] as number) + (gradients[row] as number)
    H[node] = (H[node] as number) + (hessians[row] as number)
  }
  for (let leaf = inner; leaf < tree.values.length; leaf++) {
    tree.values[leaf] = (-rate * (G[leaf] as number)) / ((H[leaf] as number) + penalty)
  }
}

export function boostedLogit({ bias, trees }: Boosted, values: Float64Array): number {
  let sum = bias
  for (const tree of trees) {
    let node = 0
    while (node < tree.features.length) {
      const value = Math.fround(values[tree.features[node] as number] as number)
      node = value <= (tree.thresholds[node] as number) ? 2 * node + 1 : 2 * node + 2
    }
    sum += tree.values[node] as number
  }
  return sum
}

/** Upper edges of the bins; the last is infinite. */
function quantiles(values: readonly Float64Array[], feature: number, bins: number): Float32Array {
  const sorted = Float32Array.from(values, (row) => row[feature] as number).sort()
  const edges = new Float32Array(bins).fill(Infinity)
  for (let bin = 0; bin < bins - 1; bin++) {
    edges[bin] = sorted[Math.floor(((bin + 1) * sorted.length) / bins)] as number
  }
  return edges
}

function binOf(edges: Float32Array, value: number): number {
  const rounded = Math.fround(value)
  let low = 0
  let high = edges.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if (rounded <= (edges[middle] as number)) high = middle
    else low = middle + 1
  }
  return low
}
