import { probabilityOf } from '../../libs/routing/src/complexity/head.ts'

/** Platt scaling: the line through the log-odds under which predicted and observed shares agree best, by Newton. */
export function calibrate(logits: Float64Array, targets: Float64Array): { slope: number; intercept: number } {
  let [slope, intercept] = [1, 0]
  for (let round = 0; round < 20; round++) {
    let [errorSlope, errorIntercept, ss, si, ii] = [0, 0, 1e-9, 0, 1e-9]
    for (let at = 0; at < logits.length; at++) {
      const logit = logits[at] as number
      const p = probabilityOf(intercept + slope * logit)
      const error = (targets[at] as number) - p
      const curvature = p * (1 - p)
      errorSlope += error * logit
      errorIntercept += error
      ss += curvature * logit * logit
      si += curvature * logit
      ii += curvature
    }
    const determinant = ss * ii - si * si
    slope += (errorSlope * ii - errorIntercept * si) / determinant
    intercept += (errorIntercept * ss - errorSlope * si) / determinant
  }
  return { slope, intercept }
}

export function spreadOf(values: Float64Array): { mean: number; deviation: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return { mean, deviation: Math.sqrt(squares / values.length) || 1 }
}
