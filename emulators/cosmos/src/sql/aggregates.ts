import type { Value } from '../json.ts'
import { compareForOrder, typeRank } from './values.ts'

/** Folds one group's values; undefined inputs do not count. */
export interface Accumulator {
  add(value: Value): void
  result(): Value
}

const count = (): Accumulator => {
  let seen = 0
  return { add: (value) => void (seen += value === undefined ? 0 : 1), result: () => seen }
}

/** SUM and AVG are undefined as soon as one value is not a number. */
const numeric = (finish: (sum: number, seen: number) => Value): Accumulator => {
  let sum = 0
  let seen = 0
  let spoiled = false
  return {
    add: (value) => {
      if (value === undefined) return
      if (typeof value === 'number') sum += value
      else spoiled = true
      seen += 1
    },
    result: () => (spoiled ? undefined : finish(sum, seen)),
  }
}

/** MIN and MAX compare across scalar types in ORDER BY's order; an array or object makes them undefined. */
const extreme = (sign: 1 | -1): Accumulator => {
  let best: Value
  let spoiled = false
  return {
    add: (value) => {
      if (typeRank(value) >= 5) spoiled = true
      else if (value !== undefined && (best === undefined || compareForOrder(value, best) * sign > 0)) best = value
    },
    result: () => (spoiled ? undefined : best),
  }
}

const accumulators: Record<string, () => Accumulator> = {
  COUNT: count,
  SUM: () => numeric((sum) => sum),
  AVG: () => numeric((sum, seen) => (seen === 0 ? undefined : sum / seen)),
  MIN: () => extreme(-1),
  MAX: () => extreme(1),
}

export const accumulator = (name: string): Accumulator => {
  const create = accumulators[name]
  if (create === undefined) throw new Error(`No aggregate named ${name}.`)
  return create()
}
