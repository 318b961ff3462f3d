import { describe, expect, it } from 'vitest'

import { compileSqlFilter, RuleEvaluationError, RuleSyntaxError } from './index.ts'
import type { RuleMessage } from './index.ts'

const enqueuedTime = new Date('2026-11-21T10:00:00Z')

const message = (applicationProperties: Record<string, unknown> = {}, properties = {}): RuleMessage => ({
  properties,
  applicationProperties,
  system: { sequenceNumber: 42, enqueuedTime },
})

const matches = (expression: string, applicationProperties: Record<string, unknown> = {}, properties = {}): boolean =>
  compileSqlFilter(expression)(message(applicationProperties, properties))

describe('three-valued logic', () => {
  const operand = { T: '1 = 1', F: '1 = 0', U: 'missing = 1' } as const
  type Name = keyof typeof operand
  /** T and F are told from U by negation: NOT U is U, which never matches. */
  const evaluate = (condition: string): Name => (matches(condition) ? 'T' : matches(`NOT (${condition})`) ? 'F' : 'U')

  it.each([
    ['T', 'T', 'T', 'T'],
    ['T', 'F', 'F', 'T'],
    ['T', 'U', 'U', 'T'],
    ['F', 'T', 'F', 'T'],
    ['F', 'F', 'F', 'F'],
    ['F', 'U', 'F', 'U'],
    ['U', 'T', 'U', 'T'],
    ['U', 'F', 'F', 'U'],
    ['U', 'U', 'U', 'U'],
  ] as const)('%s and %s give %s, or gives %s', (left, right, and, or) => {
    expect(evaluate(`${operand[left]} AND ${operand[right]}`)).toBe(and)
    expect(evaluate(`${operand[left]} OR ${operand[right]}`)).toBe(or)
  })

  it.each([
    ['T', 'F'],
    ['F', 'T'],
    ['U', 'U'],
  ] as const)('NOT %s is %s', (value, negated) => {
    expect(evaluate(`NOT ${operand[value]}`)).toBe(negated)
  })

  it.each(['missing = missing', 'missing <> 1', 'missing > 1', 'missing + 1 = 1', '-missing = 0', 'missing = NULL'])(
    '%s is unknown',
    (condition) => {
      expect(evaluate(condition)).toBe('U')
    },
  )

  it.each([
    "missing LIKE 'a%'",
    "'a' LIKE missing",
    "'a' NOT LIKE missing",
    "'a' LIKE 'a' ESCAPE missing",
    'missing IN (1)',
    'missing NOT IN (1)',
    '2 IN (1, missing)',
  ])('%s is unknown', (condition) => {
    expect(evaluate(condition)).toBe('U')
  })

  it('finds a member of a list in spite of an unknown one', () => {
    expect(evaluate('1 IN (missing, 1)')).toBe('T')
    expect(evaluate('1 NOT IN (missing, 1)')).toBe('F')
  })
})

describe('properties', () => {
  it('ignores the case of user and system names, of scopes and of keywords', () => {
    expect(matches("COLOR = 'red' and USER.color = 'red'", { Color: 'red' })).toBe(true)
    expect(matches("SYS.LABEL like '%bus%' Or sys.To iS NulL", {}, { subject: 'a bus' })).toBe(true)
  })

  it('compares values with their case', () => {
    expect(matches("color = 'RED'", { color: 'red' })).toBe(false)
    expect(matches("color LIKE 'RED'", { color: 'red' })).toBe(false)
  })

  it('prefers the exact spelling when two names differ in case only', () => {
    expect(matches('Color = 1 AND color = 2', { Color: 1, color: 2 })).toBe(true)
  })

  it('reads every system property', () => {
    const properties = {
      messageId: 'm',
      correlationId: 'c',
      subject: 's',
      to: 't',
      replyTo: 'r',
      sessionId: 'e',
      replyToSessionId: 'p',
      contentType: 'x',
    }
    const all =
      "sys.MessageId = 'm' AND sys.CorrelationId = 'c' AND sys.Subject = 's' AND sys.Label = 's' AND sys.To = 't' AND " +
      "sys.ReplyTo = 'r' AND sys.SessionId = 'e' AND sys.ReplyToSessionId = 'p' AND sys.ContentType = 'x'"
    expect(matches(all, {}, properties)).toBe(true)
    expect(matches('sys.SequenceNumber = 42')).toBe(true)
    const soon = { '@soon': new Date(enqueuedTime.getTime() + 1) }
    expect(compileSqlFilter('sys.EnqueuedTimeUtc < @soon', soon)(message())).toBe(true)
  })

  it('reads delimited and quoted identifiers', () => {
    const properties = { 'HR-Employee ID': 1, 'a]b': 2, 'Contoso "&" Northwind': 3, like: 4, 'http://x/y': 5 }
    expect(matches('[HR-Employee ID] = 1 AND [a]]b] = 2 AND "http://x/y" = 5', properties)).toBe(true)
    expect(matches('"Contoso ""&"" Northwind" = 3 AND [like] = 4 AND user.[like] = 4', properties)).toBe(true)
  })

  it('tells a null value from a property that does not exist', () => {
    expect(matches('n IS NULL AND EXISTS(n)', { n: null })).toBe(true)
    expect(matches('n IS NULL AND NOT EXISTS(n)')).toBe(true)
    expect(matches('n IS NOT NULL', { n: 0 })).toBe(true)
    expect(matches('sys.To IS NULL AND NOT EXISTS(sys.To)')).toBe(true)
    expect(matches('sys.To IS NOT NULL AND EXISTS(sys.To)', {}, { to: 'x' })).toBe(true)
  })

  it('sees no property that the message inherits from Object', () => {
    expect(matches('EXISTS(constructor) OR EXISTS([__proto__]) OR toString IS NOT NULL')).toBe(false)
    expect(matches('[__proto__] = 1', JSON.parse('{"__proto__":1}') as Record<string, unknown>)).toBe(true)
  })

  it('resolves property() by a constant and by a computed name', () => {
    expect(matches("property('color') = 'red' AND p('c' + 'olor') = 'red'", { color: 'red' })).toBe(true)
    expect(
      matches("property('sys.Label') = 'x' AND property(which) = 1", { which: 'user.n', n: 1 }, { subject: 'x' }),
    ).toBe(true)
    expect(matches('property(missing) = 1')).toBe(false)
    expect(() => matches("property('sys.Nope') = 1")).toThrow(RuleEvaluationError)
    expect(() => matches('property(1) = 1')).toThrow(RuleEvaluationError)
  })
})

describe('values', () => {
  it.each([
    ['n = 1', { n: 1n }],
    ['n = 1.0', { n: 1 }],
    ['n > 2.08 AND n < 3e0', { n: 2.5 }],
    ['n = 9007199254740993', { n: 9007199254740993n }],
    ['n = -9223372036854775808', { n: -(2n ** 63n) }],
    ['n > 9223372036854775807', { n: 2n ** 64n - 1n }],
    ['n = 101.5E5 AND m = .5', { n: 10_150_000, m: 0.5 }],
    ['b = TRUE AND c <> true', { b: true, c: false }],
    ["s = 'it''s' AND s <> ''", { s: "it's" }],
    ["s > 'a' AND s <= 'b'", { s: 'b' }],
    ["s = 'line\n''quote''; -- 💥'", { s: "line\n'quote'; -- 💥" }],
  ])('%s', (expression, properties) => {
    expect(matches(expression, properties)).toBe(true)
  })

  it.each([
    ['n = 1', { n: '1' }],
    ['n > 1', { n: '10' }],
    ["n <> 'x'", { n: 1 }],
    ["b = 'true'", { b: true }],
    ['b > FALSE', { b: true }],
    ["n NOT LIKE 'x'", { n: 5 }],
    ['x = 1 OR x <> 1', { x: Buffer.from('1') }],
  ])('%s does not match across types', (expression, properties) => {
    expect(matches(expression, properties)).toBe(false)
    expect(matches(`NOT (${expression})`, properties)).toBe(expression.startsWith('b > '))
  })

  it.each([
    ['7 / 2 = 3 AND -7 / 2 = -3 AND 7 % 4 = 3 AND -7 % 4 = -3'],
    ['7 / 2.0 = 3.5 AND (7 + 0.0) / 2 = 3.5'],
    ['2 + 3 * 4 = 14 AND (2 + 3) * 4 = 20 AND 10 - 4 - 3 = 3 AND -(-5) = 5 AND +5 = 5'],
    ['9223372036854775807 + 1 = -9223372036854775808'],
    ["'a' + 'b' = 'ab'"],
    ['1 / 0.0 > 9223372036854775807'],
  ])('%s', (expression) => {
    expect(matches(expression)).toBe(true)
  })

  it.each(["'a' * 2 = 2", "1 + 'a' = '1a'", 'TRUE + 1 = 2', "-'a' = 0"])('%s is unknown', (expression) => {
    expect(matches(expression) || matches(`NOT (${expression})`)).toBe(false)
  })

  it('fails the message when an integer is divided by zero', () => {
    expect(() => matches('1 / n = 1', { n: 0 })).toThrow(RuleEvaluationError)
    expect(() => matches('1 % n = 1', { n: 0n })).toThrow(RuleEvaluationError)
  })

  it('takes parameters, with and without the @ in their name', () => {
    const filter = compileSqlFilter('n >= @low AND s = @s', { '@low': 3, s: "it's" })
    expect(filter(message({ n: 3, s: "it's" }))).toBe(true)
    expect(filter(message({ n: 2, s: "it's" }))).toBe(false)
    expect(() => compileSqlFilter('n = @nope')).toThrow(/index 4/)
    expect(() => compileSqlFilter('n = @x', { x: {} })).toThrow(RuleSyntaxError)
  })

  it('gives newid() a new value each time', () => {
    expect(matches('newid() <> newid()')).toBe(true)
  })
})

describe('IN, LIKE and precedence', () => {
  it('compares IN with every element, NOT IN with none', () => {
    expect(matches("store IN ('a', 'b') AND store NOT IN ('c', 1) AND n IN (1 + 1)", { store: 'b', n: 2 })).toBe(true)
  })

  it.each([
    ["s LIKE 'a%'", true],
    ["s LIKE '%c'", true],
    ["s LIKE 'a_c'", true],
    ["s LIKE '_bc_'", false],
    ["s NOT LIKE 'x%'", true],
    ["s LIKE ''", false],
    ["s LIKE 'a' + '%'", true],
    ["s LIKE '[abc]bc'", false],
    ["s LIKE 'a.c'", false],
  ])('%s is %s for abc', (expression, expected) => {
    expect(matches(expression, { s: 'abc' })).toBe(expected)
  })

  it('escapes wildcards', () => {
    expect(matches("s LIKE 'ABC\\%' ESCAPE '\\'", { s: 'ABC%' })).toBe(true)
    expect(matches("s LIKE 'ABC\\%' ESCAPE '\\'", { s: 'ABCD' })).toBe(false)
    expect(matches("s LIKE '!_!!' ESCAPE '!'", { s: '_!' })).toBe(true)
  })

  it('follows a pattern that changes with the message', () => {
    const filter = compileSqlFilter('s LIKE pattern')
    expect(filter(message({ s: 'abc', pattern: 'a%' }))).toBe(true)
    expect(filter(message({ s: 'abc', pattern: 'b%' }))).toBe(false)
    expect(filter(message({ s: 'abc', pattern: '%c' }))).toBe(true)
  })

  it('binds NOT tighter than AND, AND tighter than OR', () => {
    expect(matches('1 = 1 OR 1 = 1 AND 1 = 0')).toBe(true)
    expect(matches('(1 = 1 OR 1 = 1) AND 1 = 0')).toBe(false)
    expect(matches('NOT 1 = 0 AND 1 = 0')).toBe(false)
    expect(matches('NOT NOT 1 = 1')).toBe(true)
  })
})
