import { describe, expect, it } from 'vitest'

import { compileSqlAction, RuleEvaluationError, RuleSyntaxError } from './index.ts'
import type { RuleMessage } from './index.ts'

const apply = (action: string, applicationProperties: Record<string, unknown> = {}, properties = {}): RuleMessage => {
  const message: RuleMessage = {
    properties,
    applicationProperties,
    system: { sequenceNumber: 7n, enqueuedTime: new Date(0) },
  }
  compileSqlAction(action)(message)
  return message
}

describe('SET', () => {
  it("does the documentation's example", () => {
    const { applicationProperties, properties } = apply(
      "SET quantity = quantity / 2; REMOVE priority;SET sys.CorrelationId = 'low';",
      { quantity: 11, priority: 'high' },
      { correlationId: 'high' },
    )
    expect(applicationProperties).toEqual({ quantity: 5 })
    expect(properties).toEqual({ correlationId: 'low' })
  })

  it('runs statements in order, with and without semicolons, in any case', () => {
    expect(apply("set a = 1 SET b = a + 1\nremove a; SET [c d] = 'x'").applicationProperties).toEqual({
      b: 2,
      'c d': 'x',
    })
  })

  it('keeps the spelling that the message uses', () => {
    expect(apply('SET COLOR = 1', { Color: 0 }).applicationProperties).toEqual({ Color: 1 })
  })

  it('copies values of other types as they are', () => {
    const when = new Date(5)
    const big = 2n ** 62n
    const { applicationProperties } = apply('SET a = w; SET b = n; SET c = TRUE; SET d = NULL', { w: when, n: big })
    expect(applicationProperties).toEqual({ w: when, n: big, a: when, b: big, c: true, d: null })
  })

  it('converts to the type that the property had, where that is possible', () => {
    expect(apply("SET n = '12'; SET s = 12; SET x = 'twelve'", { n: 1, s: 'a', x: 1 }).applicationProperties).toEqual({
      n: 12,
      s: '12',
      x: 'twelve',
    })
  })

  it('sets null from a property that does not exist, and unsets a system property', () => {
    const { applicationProperties, properties } = apply('SET a = missing + 1; SET sys.To = missing', {}, { to: 'x' })
    expect(applicationProperties).toEqual({ a: null })
    expect(properties).toEqual({})
  })

  it('writes system properties as text', () => {
    expect(
      apply('SET sys.Label = 5; SET sys.ReplyTo = sys.SequenceNumber; SET sys.To = sys.EnqueuedTimeUtc').properties,
    ).toEqual({
      subject: '5',
      replyTo: '7',
      to: '1970-01-01T00:00:00.000Z',
    })
  })

  it('sets a fresh identifier from newid()', () => {
    const { applicationProperties } = apply('SET a = newid(); SET b = newid()')
    expect(applicationProperties['a']).toMatch(/^[0-9a-f]{8}-/)
    expect(applicationProperties['a']).not.toBe(applicationProperties['b'])
  })

  it('creates a plain property called __proto__', () => {
    const { applicationProperties } = apply("SET [__proto__] = 'x'")
    expect(Object.entries(applicationProperties)).toEqual([['__proto__', 'x']])
    expect(Object.getPrototypeOf(applicationProperties)).toBe(Object.prototype)
  })
})

describe('REMOVE', () => {
  it('removes user and system properties and minds none that is missing', () => {
    const { applicationProperties, properties } = apply(
      'REMOVE COLOR; REMOVE sys.Label; REMOVE nothing',
      { color: 1, n: 2 },
      { subject: 'x' },
    )
    expect(applicationProperties).toEqual({ n: 2 })
    expect(properties).toEqual({})
  })
})

it.each([
  ['', 0],
  ['SET', 3],
  ['SET a', 5],
  ['SET a = ', 8],
  ['SET a = 1 = 2', 10],
  ['SET a = (b = 1)', 9],
  ['SET a = b AND c', 10],
  ['SET 1 = a', 4],
  ['SET sys.SequenceNumber = 1', 4],
  ['REMOVE sys.EnqueuedTimeUtc', 7],
  ['REMOVE sys.Nope', 11],
  ['UPDATE a = 1', 0],
  ['SET a = 1;;', 10],
  ['SET a = @p', 8],
  ['REMOVE a, b', 8],
])('refuses %j at %i', (action, index) => {
  expect(() => compileSqlAction(action)).toThrow(RuleSyntaxError)
  expect(() => compileSqlAction(action)).toThrow(`index ${index})`)
})

it('takes 32 statements and refuses a 33rd, and a text beyond the quota', () => {
  expect(
    Object.keys(apply(Array.from({ length: 32 }, (_, i) => `SET a${i} = ${i}`).join(';')).applicationProperties),
  ).toHaveLength(32)
  expect(() => compileSqlAction('REMOVE a;'.repeat(33))).toThrow('at most 32 statements')
  expect(() => compileSqlAction('REMOVE a;'.repeat(100_000))).toThrow('at most 1024 characters')
})

it('fails the message on an integer division by zero', () => {
  expect(() => apply('SET a = 1 / n', { n: 0 })).toThrow(RuleEvaluationError)
})
