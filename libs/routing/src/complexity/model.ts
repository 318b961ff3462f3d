import weights from '../generated/complexity-weights.json' with { type: 'json' }
import { features } from './features.ts'
import { ngramBuckets } from './scan-text.ts'

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
  /** Per dense feature: centre, spread, and weight of its distance from the centre in spreads. */
  means: Float32Array
  spreads: Float32Array
  weights: Float32Array
  /** Weights of the n-gram buckets in steps of `step`. */
  ngrams: Int8Array
  step: number
}

/** Estimates one probability: the mean of a linear model's and the trees' log-odds, stretched to be calibrated. */
export interface Head {
  linear: Linear
  trees: Trees
  calibration: { slope: number; intercept: number }
}

export interface Model {
  /** The weak model's answer is wrong. */
  fails: Head
  /** It is wrong, and the strong model's is right. */
  gains: Head
  /** Mean and standard deviation over the training prompts of what the score adds up. */
  scale: Record<'fails' | 'gains' | 'length', { mean: number; deviation: number }>
}

const reach = 3

/**
 * Log-odds of a head for one prompt, calibrated. What each dense feature contributed, against an average prompt, is
 * added to `pushes`, times `share`.
 */
export function logOdds(head: Head, dense: Float64Array, ngrams: Int32Array, pushes?: Float64Array, share = 1): number {
  const { linear, trees, calibration } = head
  const half = calibration.slope / 2
  let sum = linear.bias
  for (let f = 0; f < dense.length; f++) {
    const distance = ((dense[f] as number) - (linear.means[f] as number)) / (linear.spreads[f] as number)
    // Beyond what training saw, a linear weight says nothing any more.
    const push = Math.max(-reach, Math.min(reach, distance)) * (linear.weights[f] as number)
    sum += push
    if (pushes) pushes[f] = (pushes[f] as number) + share * half * push
  }
  let buckets = 0
  for (const bucket of ngrams) buckets += linear.ngrams[bucket] as number
  sum += (buckets * linear.step) / Math.sqrt(Math.max(1, ngrams.length))
  return calibration.intercept + half * (sum + treesLogit(trees, dense, pushes, share * half))
}

function treesLogit(trees: Trees, dense: Float64Array, pushes: Float64Array | undefined, share: number): number {
  const inner = 2 ** trees.depth - 1
  const nodes = 2 * inner + 1
  const count = trees.features.length / inner
  let sum = trees.bias
  for (let tree = 0; tree < count; tree++) {
    let node = 0
    while (node < inner) {
      const at = tree * inner + node
      const feature = trees.features[at] as number
      const child = Math.fround(dense[feature] as number) <= (trees.thresholds[at] as number) ? 1 : 2
      const next = 2 * node + child
      if (pushes) {
        const step = (trees.values[tree * nodes + next] as number) - (trees.values[tree * nodes + node] as number)
        pushes[feature] = (pushes[feature] as number) + share * step
      }
      node = next
    }
    sum += trees.values[tree * nodes + node] as number
  }
  return sum
}

export const probability = (logOdds: number): number => 1 / (1 + Math.exp(-logOdds))

type Packed = typeof weights
type PackedHead = Packed['heads']['fails']

/** The weights as they are written to the repository: numbers as little-endian base64. */
export function packModel({ fails, gains, scale }: Model): Packed {
  return {
    features: features.map(({ name }) => name),
    heads: { fails: packHead(fails), gains: packHead(gains) },
    scale,
  }
}

/** @throws Error when the weights were trained for other features than these, which no score would survive unnoticed */
export function unpackModel(packed: Packed): Model {
  if (packed.features.join() !== features.map(({ name }) => name).join()) {
    throw new Error('The complexity weights were trained for other features: run npm run train:complexity.')
  }
  return { fails: unpackHead(packed.heads.fails), gains: unpackHead(packed.heads.gains), scale: packed.scale }
}

const packHead = ({ linear, trees, calibration }: Head): PackedHead => ({
  linear: {
    bias: linear.bias,
    means: base64(linear.means),
    spreads: base64(linear.spreads),
    weights: base64(linear.weights),
    ngrams: base64(linear.ngrams),
    step: linear.step,
  },
  trees: {
    depth: trees.depth,
    bias: trees.bias,
    features: base64(trees.features),
    thresholds: base64(trees.thresholds),
    values: base64(trees.values),
  },
  calibration,
})

function unpackHead({ linear, trees, calibration }: PackedHead): Head {
  const ngrams = new Int8Array(bytes(linear.ngrams))
  if (ngrams.length !== ngramBuckets) throw new Error(`The complexity weights have ${ngrams.length} n-gram buckets.`)
  return {
    linear: {
      bias: linear.bias,
      means: new Float32Array(bytes(linear.means)),
      spreads: new Float32Array(bytes(linear.spreads)),
      weights: new Float32Array(bytes(linear.weights)),
      ngrams,
      step: linear.step,
    },
    trees: {
      depth: trees.depth,
      bias: trees.bias,
      features: new Uint8Array(bytes(trees.features)),
      thresholds: new Float32Array(bytes(trees.thresholds)),
      values: new Float32Array(bytes(trees.values)),
    },
    calibration,
  }
}

const base64 = (numbers: Float32Array | Int8Array | Uint8Array): string =>
  Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength).toString('base64')
const bytes = (text: string): ArrayBuffer => new Uint8Array(Buffer.from(text, 'base64')).buffer

/** The committed weights, read once. */
export const trained: Model = unpackModel(weights)
