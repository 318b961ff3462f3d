import { isJsonObject, type Json, type Value } from '../json.ts'
import type { BuiltIn } from './functions.ts'
import { canonicalText, equals } from './values.ts'

/** Whether `whole` has everything that `part` has (the third argument of ARRAY_CONTAINS). */
const includesPart = (whole: Value, part: Value): boolean => {
  if (isJsonObject(whole) && isJsonObject(part))
    return Object.entries(part).every(([key, value]) => Object.hasOwn(whole, key) && includesPart(whole[key], value))
  return equals(whole, part) === true
}

const contains = (array: Value, item: Value, partial: Value): Value => {
  if (!Array.isArray(array) || item === undefined) return undefined
  return array.some((element) => (partial === true ? includesPart(element, item) : equals(element, item) === true))
}

const onSets = (apply: (a: Json[], b: Json[]) => Value): BuiltIn => ({
  arity: [2, 2],
  apply: ([a, b]) => (Array.isArray(a) && Array.isArray(b) ? apply(a, b) : undefined),
})

const distinct = (items: Json[]): Json[] => [...new Map(items.map((item) => [canonicalText(item), item])).values()]

export const arrayFunctions: Record<string, BuiltIn> = {
  ARRAY_CONCAT: {
    arity: [2, 100],
    apply: (args) => (args.every((arg) => Array.isArray(arg)) ? args.flat() : undefined),
  },
  ARRAY_CONTAINS: { arity: [2, 3], apply: ([array, item, partial]) => contains(array, item, partial) },
  ARRAY_CONTAINS_ANY: {
    arity: [2, 100],
    apply: ([array, ...items]) =>
      Array.isArray(array) ? items.some((item) => contains(array, item, false) === true) : undefined,
  },
  ARRAY_CONTAINS_ALL: {
    arity: [2, 100],
    apply: ([array, ...items]) =>
      Array.isArray(array) ? items.every((item) => contains(array, item, false) === true) : undefined,
  },
  ARRAY_LENGTH: { arity: [1, 1], apply: ([array]) => (Array.isArray(array) ? array.length : undefined) },
  ARRAY_SLICE: {
    arity: [2, 3],
    apply: ([array, start, length]) => {
      if (!Array.isArray(array) || typeof start !== 'number' || (length !== undefined && typeof length !== 'number'))
        return undefined
      const from = start < 0 ? Math.max(0, array.length + start) : start
      return array.slice(from, length === undefined ? undefined : from + Math.max(0, length))
    },
  },
  SETINTERSECT: onSets((a, b) => distinct(a).filter((item) => contains(b, item, false) === true)),
  SETUNION: onSets((a, b) => distinct([...a, ...b])),
  OBJECTTOARRAY: {
    arity: [1, 1],
    apply: ([object]) => (isJsonObject(object) ? Object.entries(object).map(([k, v]) => ({ k, v })) : undefined),
  },
}
