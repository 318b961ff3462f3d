import trained from '../generated/confidence-weights.json' with { type: 'json' }

/** A logistic model of an answer being wrong, over standardised features. */
export interface NumericModel {
  intercept: number
  weights: readonly number[]
  means: readonly number[]
  deviations: readonly number[]
}

/** Log-odds that an answer with these features is right. */
export function rightLogOdds(features: Float64Array, model: NumericModel): number {
  const wrong = features.reduce(
    (sum, value, at) =>
      sum + ((model.weights[at] ?? 0) * (value - (model.means[at] ?? 0))) / (model.deviations[at] ?? 1),
    model.intercept,
  )
  return -wrong
}

/** The committed weights; `npm run train:confidence` writes them. */
export const trainedNumericModel: NumericModel = trained
