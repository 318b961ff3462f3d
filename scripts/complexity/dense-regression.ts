import { distanceOf, type Linear, probabilityOf } from '../../libs/routing/src/complexity/head.ts'
import type { Example } from './train-head.ts'

type DensePart = Pick<Linear, 'bias' | 'means' | 'spreads' | 'weights'>

const penalty = 30
const rounds = 5

/** Ridge logistic regression on the standardised dense features, by Newton's method. */
export function fitDense(examples: readonly Example[], targets: Float64Array): DensePart {
  const width = examples[0]?.dense.length ?? 0
  const part = {
    bias: 0,
    means: new Float32Array(width),
    spreads: new Float32Array(width),
    weights: new Float32Array(width),
  }
  for (let f = 0; f < width; f++) {
    let [sum, squares] = [0, 0]
    for (const { dense } of examples) sum += dense[f] as number
    const mean = sum / examples.length
    for (const { dense } of examples) squares += ((dense[f] as number) - mean) ** 2
    part.means[f] = mean
    part.spreads[f] = Math.sqrt(squares / examples.length) || 1
  }
  const whole: Linear = { ...part, ngrams: new Int8Array(0), step: 0 }
  // The bias is the last column, and is not penalised.
  const columns = examples.map(({ dense }) =>
    Float64Array.from({ length: width + 1 }, (_, f) => (f === width ? 1 : distanceOf(whole, f, dense[f] as number))),
  )
  const solution = new Float64Array(width + 1)
  for (let round = 0; round < rounds; round++) {
    const step = solve(newtonSystem(columns, targets, solution))
    for (let f = 0; f <= width; f++) solution[f] = (solution[f] as number) + (step[f] as number)
  }
  part.weights.set(solution.subarray(0, width))
  return { ...part, bias: solution[width] as number }
}

/** The penalised Hessian of the log loss, with the negative gradient as a last column. */
function newtonSystem(columns: readonly Float64Array[], targets: Float64Array, solution: Float64Array): Float64Array[] {
  const size = solution.length
  const system = Array.from({ length: size }, (_, f) => {
    const row = new Float64Array(size + 1)
    if (f === size - 1) return row
    row[f] = penalty
    row[size] = -penalty * (solution[f] as number)
    return row
  })
  for (const [at, column] of columns.entries()) {
    let sum = 0
    for (let f = 0; f < size; f++) sum += (column[f] as number) * (solution[f] as number)
    const p = probabilityOf(sum)
    const curvature = p * (1 - p)
    const error = (targets[at] as number) - p
    for (let f = 0; f < size; f++) {
      const row = system[f] as Float64Array
      const value = column[f] as number
      for (let g = 0; g < size; g++) row[g] = (row[g] as number) + curvature * value * (column[g] as number)
      row[size] = (row[size] as number) + error * value
    }
  }
  return system
}

/** Gauss-Jordan elimination; the penalty keeps the diagonal away from zero. */
function solve(system: Float64Array[]): Float64Array {
  const size = system.length
  for (let at = 0; at < size; at++) {
    const pivot = system[at] as Float64Array
    for (const [other, row] of system.entries()) {
      const factor = (row[at] as number) / (pivot[at] as number)
      if (other === at || factor === 0) continue
      for (let g = at; g <= size; g++) row[g] = (row[g] as number) - factor * (pivot[g] as number)
    }
  }
  return Float64Array.from(system, (row, at) => (row[size] as number) / (row[at] as number))
}
