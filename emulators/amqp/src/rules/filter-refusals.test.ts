import * as fc from 'fast-check'
import { expect, it } from 'vitest'

import { compileSqlFilter, RuleEvaluationError, RuleSyntaxError } from './index.ts'

const matches = (expression: string, applicationProperties: Record<string, unknown> = {}): boolean =>
  compileSqlFilter(expression)({
    properties: {},
    applicationProperties,
    system: { sequenceNumber: 1, enqueuedTime: new Date(0) },
  })

const refusal = (expression: string): RuleSyntaxError => {
  try {
    compileSqlFilter(expression)
  } catch (error) {
    if (error instanceof RuleSyntaxError) return error
    throw error
  }
  throw new Error(`was accepted: ${expression}`)
}

it.each([
  ['', 0],
  ['color', 5],
  ['TRUE', 4],
  ['color =', 7],
  ['color = = 1', 8],
  ["color = 'red", 12],
  ['[color = 1', 10],
  ['[] = 1', 0],
  ['(color = 1', 10],
  ['color = 1)', 9],
  ['color = 1 color = 2', 10],
  ['color == 1', 7],
  ['color = 1;', 9],
  ['a = 1 AND', 9],
  ['a NOT 1', 6],
  ['a IS 1', 5],
  ['1 IS NULL', 0],
  ['a IN ()', 6],
  ['a IN (1', 7],
  ['a IN 1', 5],
  ['EXISTS(1)', 7],
  ['sys.Nope = 1', 4],
  ['sys.TimeToLive = 1', 4],
  ['my.prop = 1', 0],
  ['[sys].Label = 1', 0],
  ['_a = 1', 0],
  ['and = 1', 0],
  ['set = 1', 0],
  ['len(a) = 1', 0],
  ['newid(1) = 1', 6],
  ['(a = 1) = TRUE', 1],
  ['(a = 1) + 1 = 2', 1],
  ['a BETWEEN 1 AND 2', 2],
  ['a = 9223372036854775808', 4],
  ['a = #', 4],
  ["a LIKE 'x' ESCAPE 'ab'", 18],
  ["a LIKE 'x!' ESCAPE '!'", 7],
  ["a LIKE 'x' ESCAPE NULL", 18],
  ['SELECT 1', 7],
])('%j at %i', (expression, index) => {
  const error = refusal(expression)
  expect(error.index).toBe(index)
  expect(error.expected).not.toBe('')
  expect(error.message).toContain(`index ${index}`)
})

it('counts lines and columns', () => {
  expect(refusal("a = 1 AND\n  b = 'x' AND\n  c ? 3")).toMatchObject({ line: 3, column: 5, index: 28 })
})

it('refuses nesting beyond its bound and takes what is below it', () => {
  const nest = (levels: number) => `${'('.repeat(levels)}1 = 1${')'.repeat(levels)}`
  expect(matches(nest(100))).toBe(true)
  expect(refusal(nest(101)).expected).toContain('nesting')
  expect(refusal('NOT '.repeat(200) + '1 = 1').expected).toContain('nesting')
  expect(refusal('- '.repeat(300) + 'a = 1').expected).toContain('nesting')
  expect(refusal('p('.repeat(300)).expected).toContain('nesting')
})

it('refuses an expression of a megabyte without reading it', () => {
  const error = refusal(`a = '${'x'.repeat(1024 * 1024)}'`)
  expect(error.expected).toBe('at most 1024 characters')
  expect(error.message.length).toBeLessThan(200)
})

it('takes a chain as long as the quota allows', () => {
  expect(
    matches(
      Array.from({ length: 127 }, () => '1=1')
        .join(' OR ')
        .slice(0, 1000) + ' OR 1=1',
    ),
  ).toBe(true)
  expect(matches(`${'1+'.repeat(500)}1 = 501`)).toBe(true)
})

it('accepts or refuses any text, and crashes on none', () => {
  const words = fc.constantFrom(
    'a',
    'sys.Label',
    '1',
    '2.5',
    "'x'",
    '=',
    '<',
    'AND',
    'OR',
    'NOT',
    '(',
    ')',
    'IN',
    'LIKE',
    'IS',
    'NULL',
    ',',
    '-',
    '[b]',
    '@p',
    'EXISTS',
  )
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.array(words, { maxLength: 40 }).map((w) => w.join(' ')),
  )
  fc.assert(
    fc.property(text, (expression) => {
      try {
        matches(expression, { a: 1, b: 'x' })
      } catch (error) {
        expect(error instanceof RuleSyntaxError || error instanceof RuleEvaluationError).toBe(true)
      }
    }),
    { numRuns: 2000 },
  )
})
