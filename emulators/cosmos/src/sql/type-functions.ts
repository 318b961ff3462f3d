import { isJsonObject, type Value } from '../json.ts'
import type { BuiltIn } from './functions.ts'
import { typeRank } from './values.ts'

// Unlike every other function these are defined for undefined: they answer false.
const is = (test: (value: Value) => boolean): BuiltIn => ({ arity: [1, 1], apply: ([value]) => test(value) })

export const typeFunctions: Record<string, BuiltIn> = {
  IS_ARRAY: is((value) => Array.isArray(value)),
  IS_BOOL: is((value) => typeof value === 'boolean'),
  IS_DEFINED: is((value) => value !== undefined),
  IS_FINITE_NUMBER: is((value) => typeof value === 'number' && Number.isFinite(value)),
  IS_INTEGER: is((value) => Number.isInteger(value)),
  IS_NULL: is((value) => value === null),
  IS_NUMBER: is((value) => typeof value === 'number'),
  IS_OBJECT: is((value) => isJsonObject(value)),
  IS_PRIMITIVE: is((value) => typeRank(value) >= 1 && typeRank(value) <= 4),
  IS_STRING: is((value) => typeof value === 'string'),
  IIF: { arity: [3, 3], apply: ([test, yes, no]) => (test === true ? yes : no) },
}
