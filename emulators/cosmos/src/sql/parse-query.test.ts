import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CosmosError } from '../cosmos-error.ts'
import { compileQuery } from './compile-query.ts'
import { parseQuery } from './parse-query.ts'

const valueOf = (expression: string): unknown =>
  [...compileQuery(parseQuery(`SELECT VALUE ${expression}`), { parameters: new Map(), nowMs: 0 })([])][0]

describe('precedence', () => {
  test.each<[string, unknown]>([
    ['1 + 2 * 3', 7],
    ['(1 + 2) * 3', 9],
    ['10 - 4 - 3', 3],
    ['-2 + 3', 1],
    ['1 | 6 & 3', 3],
    ['1 << 2 + 1', 8],
    ['"a" || "b" = "ab"', true],
    ['NOT false AND false', false],
    ['true OR true AND false', true],
    ['1 < 2 AND 3 NOT IN (1, 2)', true],
    ['2 BETWEEN 1 AND 3 AND true', true],
    ['false ? 1 : true ? 2 : 3', 2],
    ['undefined ?? 1 ?? 2', 1],
    ['{ "a": [1, { b: null }] }.a[1].b', null],
    ["'it''s' || \"\\u0041\\n\"", "it'sA\n"],
    ['0x10 + 1e1 + .5', 26.5],
  ])('%s', (expression, expected) => {
    expect(valueOf(expression)).toEqual(expected)
  })
})

describe('errors', () => {
  test.each<[string, number, number, string]>([
    ['SELECT * FROM c WHERE c.a == 1', 27, 28, 'SC1001'],
    ['SELECT * FROM c WHERE c.a = #', 28, 29, 'SC1010'],
    ['SELECT * FROM c GROUP c.a', 22, 23, 'SC1001'],
    ['SELECT VALUE d FROM c', 13, 14, 'SC2001'],
  ])('%s is refused at %d to %d', (text, start, end, code) => {
    const attempt = (): unknown => compileQuery(parseQuery(text), { parameters: new Map(), nowMs: 0 })
    try {
      attempt()
      expect.unreachable()
    } catch (error) {
      expect(error).toBeInstanceOf(CosmosError)
      const { message } = JSON.parse((error as CosmosError).body('a', 'u')) as { message: string }
      expect(message).toContain(`"location":{"start":${start},"end":${end}},"code":"${code}"`)
    }
  })

  test('whatever is sent, the only failure is a 400', () => {
    const words =
      'SELECT VALUE TOP DISTINCT * FROM c c.a JOIN t IN ( ) [ ] { } , . WHERE AND OR NOT NULL = < ? : ?? LIKE BETWEEN ORDER BY GROUP OFFSET LIMIT 1 "s" @p EXISTS ARRAY COUNT( UPPER( udf.x(1) -- \u0000 \' ~'.split(
        ' ',
      )
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(fc.constantFrom(...words), { maxLength: 25 }).map((list) => list.join(' ')),
    )
    fc.assert(
      fc.property(text, (query) => {
        try {
          const run = compileQuery(parseQuery(`SELECT ${query}`), { parameters: new Map(), nowMs: 0 })
          Array.from(run([{ a: 1, b: [1] }]))
        } catch (error) {
          expect(error).toBeInstanceOf(CosmosError)
          expect((error as CosmosError).status).toBe(400)
        }
      }),
      { numRuns: 5000, seed: 20261121 },
    )
  })
})
