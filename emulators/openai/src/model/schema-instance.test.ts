import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { matchingText } from './matching-text.ts'
import { instanceOf } from './schema-instance.ts'
import { Draws } from './seeded-draw.ts'

const build = (schema: Record<string, unknown>, seed = 1, answer?: string): unknown =>
  instanceOf(schema, { draws: new Draws(seed), subjects: ['tide', 'moon'], answer })

test('numbers stay within their bounds and on their multiples', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: -1000, max: 1000 }),
      fc.integer({ min: 0, max: 500 }),
      fc.integer(),
      (low, span, seed) => {
        const value = build({ type: 'integer', minimum: low, maximum: low + span }, seed)
        expect(value).toBeGreaterThanOrEqual(low)
        expect(value).toBeLessThanOrEqual(low + span)
        expect(Number.isInteger(value)).toBe(true)
        expect(Number(build({ type: 'integer', multipleOf: 7, minimum: 1 }, seed)) % 7).toBe(0)
      },
    ),
  )
  expect(build({ type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 })).toBe(0.5)
})

test('lengths, counts and uniqueness hold', () => {
  for (let seed = 0; seed < 50; seed++) {
    const text = String(build({ type: 'string', minLength: 20, maxLength: 25 }, seed))
    expect(text.length).toBeGreaterThanOrEqual(20)
    expect(text.length).toBeLessThanOrEqual(25)
    const list = build(
      {
        type: 'array',
        minItems: 3,
        maxItems: 4,
        uniqueItems: true,
        items: { type: 'integer', minimum: 1, maximum: 9 },
      },
      seed,
    ) as number[]
    expect(list.length).toBeGreaterThanOrEqual(3)
    expect(list.length).toBeLessThanOrEqual(4)
    expect(new Set(list).size).toBe(list.length)
  }
})

test('the answer goes into the property that is called so, as its type, else into the first free string', () => {
  const properties = { note: { type: 'string' }, answer: { type: 'integer' } }
  expect(build({ type: 'object', properties, required: ['note', 'answer'] }, 1, '42')).toMatchObject({ answer: 42 })
  expect(
    build({ type: 'object', properties: { kind: { enum: ['a', 'b'] }, text: { type: 'string' } } }, 1, 'here'),
  ).toMatchObject({ text: 'here' })
  expect(build({ enum: ['a', 'b', 'c'] }, 1, 'c')).toBe('c')
})

test('allOf merges, references lead through references, rings of them and endless schemas end', () => {
  expect(
    build({
      allOf: [
        { type: 'object', properties: { a: { const: 1 } } },
        { properties: { b: { const: 2 } }, required: ['b'] },
      ],
    }),
  ).toEqual({ a: 1, b: 2 })
  expect(build({ $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/b' }, b: { const: 3 } } })).toBe(3)
  expect(() =>
    build({ $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } }),
  ).not.toThrow()
  expect(() => build({ anyOf: [{ $ref: '#' }] })).not.toThrow()
  expect(() => build({ type: 'array', minItems: 1e308, items: { $ref: '#' } })).not.toThrow()
})

test.each([
  '^[A-Z]{2}\\d{4}$',
  '^(foo|bar)-[a-f0-9]{8}$',
  '^\\+?[1-9]\\d{1,14}$',
  '^[^@\\s]+@[^@\\s]+\\.[a-z]{2,}$',
  '(?<year>\\d{4})-(?:0[1-9]|1[0-2])',
  '^a*b?c+$',
])('a text for %s matches it', (pattern) => {
  for (let seed = 0; seed < 20; seed++) {
    const text = matchingText(pattern, new Draws(seed))
    if (text === undefined) throw new Error('no text')
    expect(text).toMatch(new RegExp(pattern, 'u'))
  }
})

test('patterns that cannot be followed give up at once, also those that repeat repeats', () => {
  for (const pattern of ['(?=a)b', '(a)\\1', '((a{256}){256}){256}', '[', '(?<!x)y']) {
    expect(matchingText(pattern, new Draws(1))).toBeUndefined()
  }
})
