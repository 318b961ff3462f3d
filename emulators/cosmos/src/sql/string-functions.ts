import type { Value } from '../json.ts'
import type { BuiltIn } from './functions.ts'

const onText = (apply: (text: string) => Value): BuiltIn => ({
  arity: [1, 1],
  apply: ([text]) => (typeof text === 'string' ? apply(text) : undefined),
})

/** Two strings and an optional flag that ignores case. */
const onPair = (apply: (text: string, part: string) => Value): BuiltIn => ({
  arity: [2, 3],
  apply: ([text, part, ignoreCase]) => {
    if (typeof text !== 'string' || typeof part !== 'string') return undefined
    return ignoreCase === true ? apply(text.toLowerCase(), part.toLowerCase()) : apply(text, part)
  },
})

const onCount = (apply: (text: string, count: number) => Value): BuiltIn => ({
  arity: [2, 2],
  apply: ([text, count]) =>
    typeof text === 'string' && typeof count === 'number' ? apply(text, Math.trunc(count)) : undefined,
})

const maxReplicated = 10_000
const regexFlags = /^[msix]*$/

const regexMatch = (text: Value, pattern: Value, flags: Value): Value => {
  if (typeof text !== 'string' || typeof pattern !== 'string') return undefined
  const modifiers = flags ?? ''
  if (typeof modifiers !== 'string' || !regexFlags.test(modifiers)) return undefined
  const source = modifiers.includes('x') ? pattern.replaceAll(/\s/g, '') : pattern
  try {
    return new RegExp(source, [...new Set(modifiers.replaceAll('x', ''))].join('')).test(text)
  } catch {
    return undefined
  }
}

const parseJson = (text: string): Value => {
  try {
    return JSON.parse(text) as Value
  } catch {
    return undefined
  }
}

export const stringFunctions: Record<string, BuiltIn> = {
  CONCAT: {
    arity: [2, 100],
    apply: (args) => (args.every((arg) => typeof arg === 'string') ? args.join('') : undefined),
  },
  CONTAINS: onPair((text, part) => text.includes(part)),
  STARTSWITH: onPair((text, part) => text.startsWith(part)),
  ENDSWITH: onPair((text, part) => text.endsWith(part)),
  STRINGEQUALS: onPair((text, other) => text === other),
  INDEX_OF: {
    arity: [2, 3],
    apply: ([text, part, from]) =>
      typeof text === 'string' && typeof part === 'string'
        ? text.indexOf(part, typeof from === 'number' ? from : 0)
        : undefined,
  },
  LEFT: onCount((text, count) => text.slice(0, Math.max(0, count))),
  RIGHT: onCount((text, count) => (count <= 0 ? '' : text.slice(-count))),
  REPLICATE: onCount((text, count) =>
    count < 0 || text.length * count > maxReplicated ? undefined : text.repeat(count),
  ),
  SUBSTRING: {
    arity: [3, 3],
    apply: ([text, start, length]) => {
      if (typeof text !== 'string' || typeof start !== 'number' || typeof length !== 'number') return undefined
      return length <= 0 || start < 0 ? '' : text.slice(start, start + length)
    },
  },
  REPLACE: {
    arity: [3, 3],
    apply: ([text, part, by]) =>
      typeof text === 'string' && typeof part === 'string' && typeof by === 'string'
        ? text.replaceAll(part, () => by)
        : undefined,
  },
  LENGTH: onText((text) => text.length),
  LOWER: onText((text) => text.toLowerCase()),
  UPPER: onText((text) => text.toUpperCase()),
  TRIM: onText((text) => text.trim()),
  LTRIM: onText((text) => text.trimStart()),
  RTRIM: onText((text) => text.trimEnd()),
  REVERSE: onText((text) => Array.from(text).toReversed().join('')),
  REGEXMATCH: { arity: [2, 3], apply: ([text, pattern, flags]) => regexMatch(text, pattern, flags) },
  STRINGTONUMBER: onText((text) => {
    const value = parseJson(text)
    return typeof value === 'number' ? value : undefined
  }),
  STRINGTOBOOLEAN: onText((text) => ({ true: true, false: false })[text.trim()]),
  STRINGTONULL: onText((text) => (text.trim() === 'null' ? null : undefined)),
  STRINGTOARRAY: onText((text) => {
    const value = parseJson(text)
    return Array.isArray(value) ? value : undefined
  }),
  STRINGTOOBJECT: onText((text) => {
    const value = parseJson(text)
    return typeof value === 'object' && !Array.isArray(value) ? value : undefined
  }),
  TOSTRING: {
    arity: [1, 1],
    apply: ([value]) => (value === undefined || typeof value === 'string' ? value : JSON.stringify(value)),
  },
}
