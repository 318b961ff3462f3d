import type { Example } from './train-head.ts'

const binCount = 32

/** The dense features of all examples, cut into bins at quantiles. */
export interface Binned {
  width: number
  binCount: number
  /** Per feature, the greatest value of each bin; the last is infinite. */
  edges: Float32Array[]
  /** Row after row, the bin of each feature. */
  bins: Uint8Array
}

/** Values are compared as 32-bit floats, here as where a tree is walked: an edge is one of the values. */
export function binFeatures(examples: readonly Example[]): Binned {
  const width = examples[0]?.dense.length ?? 0
  const edges = Array.from({ length: width }, (_, feature) => quantiles(examples, feature))
  const bins = new Uint8Array(examples.length * width)
  for (const [row, { dense }] of examples.entries()) {
    for (let feature = 0; feature < width; feature++) {
      bins[row * width + feature] = binOf(edges[feature] as Float32Array, Math.fround(dense[feature] as number))
    }
  }
  return { width, binCount, edges, bins }
}

function quantiles(examples: readonly Example[], feature: number): Float32Array {
  const sorted = Float32Array.from(examples, ({ dense }) => dense[feature] as number).sort()
  return Float32Array.from({ length: binCount }, (_, bin) =>
    bin === binCount - 1 ? Infinity : (sorted[Math.floor(((bin + 1) * sorted.length) / binCount)] as number),
  )
}

function binOf(edges: Float32Array, value: number): number {
  let low = 0
  let high = edges.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if (value <= (edges[middle] as number)) high = middle
    else low = middle + 1
  }
  return low
}
