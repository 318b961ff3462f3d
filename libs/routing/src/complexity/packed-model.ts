import { features } from './features.ts'
import type { Head } from './head.ts'
import { ngramBuckets } from './ngram-set.ts'

/** What training found out. */
export interface Model {
  /** The weak model's answer is wrong. */
  fails: Head
  /** It is wrong, and the strong model's is right. */
  gains: Head
  /** Mean and standard deviation, over the training prompts, of the quantities that the score adds up. */
  scale: Record<'fails' | 'gains' | 'length', { mean: number; deviation: number }>
}

interface PackedHead {
  linear: Record<'means' | 'spreads' | 'weights' | 'ngrams', string> & { bias: number; step: number }
  trees: Record<'features' | 'thresholds' | 'values', string> & { depth: number; bias: number }
  calibration: Head['calibration']
}

/** A model as it is written to a file: arrays of numbers as little-endian base64. */
export interface PackedModel {
  notice: string
  features: string[]
  heads: Record<'fails' | 'gains', PackedHead>
  scale: Model['scale']
}

export function packModel({ fails, gains, scale }: Model, notice: string): PackedModel {
  const names = features.map(({ name }) => name)
  return { notice, features: names, heads: { fails: packHead(fails), gains: packHead(gains) }, scale }
}

/** @throws Error when the weights were trained for other features, which would make every score quietly wrong */
export function unpackModel(packed: PackedModel): Model {
  const stale = packed.features.join() !== features.map(({ name }) => name).join()
  const model = { fails: unpackHead(packed.heads.fails), gains: unpackHead(packed.heads.gains), scale: packed.scale }
  if (stale || [model.fails, model.gains].some(({ linear }) => linear.ngrams.length !== ngramBuckets)) {
    throw new Error('The complexity weights were trained for other features: run npm run train:complexity.')
  }
  return model
}

const packHead = ({ linear, trees, calibration }: Head): PackedHead => ({
  linear: {
    bias: linear.bias,
    step: linear.step,
    means: base64(linear.means),
    spreads: base64(linear.spreads),
    weights: base64(linear.weights),
    ngrams: base64(linear.ngrams),
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

const unpackHead = ({ linear, trees, calibration }: PackedHead): Head => ({
  linear: {
    bias: linear.bias,
    step: linear.step,
    means: new Float32Array(bytes(linear.means)),
    spreads: new Float32Array(bytes(linear.spreads)),
    weights: new Float32Array(bytes(linear.weights)),
    ngrams: new Int8Array(bytes(linear.ngrams)),
  },
  trees: {
    depth: trees.depth,
    bias: trees.bias,
    features: new Uint8Array(bytes(trees.features)),
    thresholds: new Float32Array(bytes(trees.thresholds)),
    values: new Float32Array(bytes(trees.values)),
  },
  calibration,
})

// Typed arrays have the machine's byte order, which is little-endian wherever Node runs except on s390x.
const base64 = (numbers: Float32Array | Int8Array | Uint8Array): string =>
  Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength).toString('base64')
const bytes = (text: string): ArrayBuffer => new Uint8Array(Buffer.from(text, 'base64')).buffer
