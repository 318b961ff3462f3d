import type { NumericModel } from '../../libs/routing/src/confidence/numeric-confidence.ts'

/** Fits a logistic model on standardised features by gradient descent, with a ridge penalty: convex, so without a seed. */
export function fitLogistic(rows: readonly Float64Array[], targets: readonly number[], ridge: number): NumericModel {
  const width = rows[0]?.length ?? 0
  const columns = Array.from({ length: width }, (_, at) => rows.map((row) => row[at] ?? 0))
  const means = columns.map((column) => column.reduce((sum, value) => sum + value, 0) / rows.length)
  const deviations = columns.map((column, at) => {
    const mean = means[at] ?? 0
    return Math.sqrt(column.reduce((sum, value) => sum + (value - mean) ** 2, 0) / rows.length) || 1
  })
  const standard = rows.map((row) => row.map((value, at) => (value - (means[at] ?? 0)) / (deviations[at] ?? 1)))
  const weights = new Float64Array(width)
  let intercept = 0
  const rate = 2 / rows.length
  for (let round = 0; round < 400; round++) {
    const slope = new Float64Array(width)
    let lift = 0
    for (const [index, row] of standard.entries()) {
      const z = row.reduce((sum, value, at) => sum + value * (weights[at] ?? 0), intercept)
      const error = 1 / (1 + Math.exp(-z)) - (targets[index] ?? 0)
      lift += error
      for (const [at, value] of row.entries()) slope[at] = (slope[at] ?? 0) + error * value
    }
    intercept -= rate * lift
    for (let at = 0; at < width; at++) {
      weights[at] = (weights[at] ?? 0) - rate * ((slope[at] ?? 0) + ridge * (weights[at] ?? 0))
    }
  }
  return { intercept, weights: [...weights], means, deviations }
}
