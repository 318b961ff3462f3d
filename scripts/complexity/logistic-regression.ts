/** A row for training: the buckets present, a target in 0..1 and a weight. */
export interface SparseRow {
  ngrams: Int32Array
  target: number
  weight: number
}

export interface Linear {
  bias: number
  weights: Float64Array
}

interface Options {
  buckets: number
  epochs: number
  rate: number
  /** L2 penalty on a bucket's weight, at each row that has it. */
  penalty: number
  random: () => number
}

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

/** The log-odds of a row. Values are 1/√n, so that long texts do not shout. */
export function linearLogit({ bias, weights }: Linear, ngrams: Int32Array): number {
  let sum = 0
  for (const bucket of ngrams) sum += weights[bucket] ?? 0
  return bias + sum / Math.sqrt(Math.max(1, ngrams.length))
}

/** Logistic regression by AdaGrad over shuffled rows. */
export function trainLinear(rows: readonly SparseRow[], { buckets, epochs, rate, penalty, random }: Options): Linear {
  const weights = new Float64Array(buckets)
  const squares = new Float64Array(buckets).fill(0.01)
  const mean = rows.reduce((sum, row) => sum + row.weight * row.target, 0) / rows.reduce((sum, r) => sum + r.weight, 0)
  const model = { bias: Math.log(mean / (1 - mean)), weights }
  let biasSquares = 1
  const order = Int32Array.from(rows.keys())
  for (let epoch = 0; epoch < epochs; epoch++) {
    shuffle(order, random)
    for (const at of order) {
      const row = rows[at] as SparseRow
      const scale = 1 / Math.sqrt(Math.max(1, row.ngrams.length))
      const error = row.weight * (sigmoid(linearLogit(model, row.ngrams)) - row.target)
      biasSquares += error * error
      model.bias -= (rate * error) / Math.sqrt(biasSquares)
      for (const bucket of row.ngrams) {
        const weight = weights[bucket] as number
        const slope = error * scale + penalty * weight
        const square = (squares[bucket] as number) + slope * slope
        squares[bucket] = square
        weights[bucket] = weight - (rate * slope) / Math.sqrt(square)
      }
    }
  }
  return model
}

export function shuffle(order: Int32Array, random: () => number): void {
  for (let at = order.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1))
    const kept = order[at] as number
    order[at] = order[other] as number
    order[other] = kept
  }
}
