import * as fc from 'fast-check'
import { expect, it } from 'vitest'

import { compileSqlFilter } from './index.ts'

const matches = (expression: string, applicationProperties: Record<string, unknown> = {}): boolean =>
  compileSqlFilter(expression)({
    properties: {},
    applicationProperties,
    system: { sequenceNumber: 1, enqueuedTime: new Date(0) },
  })

type Model = { text: string; value: boolean | undefined }
const leaf: fc.Arbitrary<Model> = fc.constantFrom(
  { text: '1 = 1', value: true },
  { text: "'a' = 'b'", value: false },
  { text: 'missing = 1', value: undefined },
  { text: 'n IN (1, 5)', value: true },
  { text: "s LIKE 'z%'", value: false },
)
const not = (v: boolean | undefined) => (v === undefined ? undefined : !v)
const and = (l: boolean | undefined, r: boolean | undefined) =>
  l === false || r === false ? false : l === undefined || r === undefined ? undefined : true
const condition = fc.letrec<{ node: Model }>((tie) => ({
  node: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    tie('node').map(({ text, value }) => ({ text: `NOT (${text})`, value: not(value) })),
    fc
      .tuple(tie('node'), tie('node'))
      .map(([l, r]) => ({ text: `(${l.text}) AND (${r.text})`, value: and(l.value, r.value) })),
    fc.tuple(tie('node'), tie('node')).map(([l, r]) => ({
      text: `(${l.text}) OR (${r.text})`,
      value: not(and(not(l.value), not(r.value))),
    })),
  ),
})).node

it('agrees on every combination of NOT, AND and OR', () => {
  fc.assert(
    fc.property(condition, ({ text, value }) => {
      fc.pre(text.length <= 1000)
      const properties = { n: 5, s: 'abc' }
      expect(matches(text, properties)).toBe(value === true)
      expect(matches(`NOT (${text})`, properties)).toBe(value === false)
    }),
    { numRuns: 500 },
  )
})

it('computes with Int64 like BigInt does', () => {
  const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
  fc.assert(
    fc.property(int64, int64, fc.constantFrom('+', '-', '*', '/', '%'), (left, right, operator) => {
      fc.pre(right !== 0n || (operator !== '/' && operator !== '%'))
      const exact = {
        '+': left + right,
        '-': left - right,
        '*': left * right,
        '/': right && left / right,
        '%': right && left % right,
      }
      const expected = BigInt.asIntN(64, exact[operator])
      expect(matches(`l ${operator} r = e`, { l: left, r: right, e: expected })).toBe(true)
    }),
    { numRuns: 500 },
  )
})

it('computes with small integers like BigInt does', () => {
  fc.assert(
    fc.property(
      fc.maxSafeInteger(),
      fc.maxSafeInteger(),
      fc.constantFrom('+', '-', '*', '/', '%'),
      (left, right, operator) => {
        fc.pre(right !== 0)
        const [l, r] = [BigInt(left), BigInt(right)]
        const exact = { '+': l + r, '-': l - r, '*': l * r, '/': l / r, '%': l % r }
        const e = BigInt.asIntN(64, exact[operator])
        expect(matches(`l ${operator} r = e`, { l: left, r: right, e })).toBe(true)
      },
    ),
    { numRuns: 500 },
  )
})
