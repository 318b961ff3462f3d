import { isJsonObject, type Json, type Value } from '../json.ts'

/** undefined, null, boolean, number, string, array, object: the order in which ORDER BY puts types. */
export type TypeRank = 0 | 1 | 2 | 3 | 4 | 5 | 6

export const typeRank = (value: Value): TypeRank => {
  switch (typeof value) {
    case 'undefined':
      return 0
    case 'boolean':
      return 2
    case 'number':
      return 3
    case 'string':
      return 4
    default:
      return value === null ? 1 : Array.isArray(value) ? 5 : 6
  }
}

// UTF-16 order and UTF-8 (code point) order differ only where a surrogate meets a unit from U+E000 up.
const surrogateLast = (unit: number): number => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit)

/** Orders strings by code point, as an index over UTF-8 does (SQLite's BINARY collation too). */
const compareStrings = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i += 1) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return surrogateLast(x) - surrogateLast(y)
  }
  return a.length - b.length
}

const deepEqual = (a: Json, b: Json): boolean => {
  if (a === b) return true
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((item, i) => deepEqual(item, b[i] as Json))
  if (!isJsonObject(a) || !isJsonObject(b)) return false
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && deepEqual(a[key] as Json, b[key] as Json))
  )
}

/** `=`: undefined when either side is; otherwise values of different types differ. */
export const equals = (a: Value, b: Value): boolean | undefined =>
  a === undefined || b === undefined ? undefined : deepEqual(a, b)

/** Sign of a - b for two scalars of one type; undefined otherwise, which makes `<` and its like undefined. */
export const compareScalars = (a: Value, b: Value): number | undefined => {
  if (typeof a === 'string' && typeof b === 'string') return compareStrings(a, b)
  if (typeof a === 'number' && typeof b === 'number') return a - b
  if (typeof a === 'boolean' && typeof b === 'boolean') return Number(a) - Number(b)
  return a === null && b === null ? 0 : undefined
}

/** Total order of ORDER BY: by type, then by value; arrays and objects by their JSON text. */
export const compareForOrder = (a: Value, b: Value): number => {
  const rank = typeRank(a)
  const difference = rank - typeRank(b)
  if (difference !== 0) return difference
  if (rank >= 5) return compareStrings(JSON.stringify(a), JSON.stringify(b))
  return compareScalars(a, b) ?? 0
}

/** Property or element access; undefined on anything that has none. */
export const member = (object: Value, property: Value): Value => {
  if (typeof property === 'number') return Array.isArray(object) ? object[property] : undefined
  return typeof property === 'string' && isJsonObject(object) && Object.hasOwn(object, property)
    ? object[property]
    : undefined
}

/** JSON text in which two objects with the same members in any order are the same: a key for DISTINCT and GROUP BY. */
export const canonicalText = (value: Value): string => {
  if (value === undefined) return 'undefined'
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(',')}]`
  const members = Object.keys(value).sort()
  return `{${members.map((key) => `${JSON.stringify(key)}:${canonicalText(value[key])}`).join(',')}}`
}
