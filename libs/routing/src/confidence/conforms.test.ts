import { describe, expect, it } from 'vitest'
import { conforms } from './conforms.ts'

const person = {
  type: 'object',
  properties: {
    name: { type: 'string', minLength: 1 },
    age: { type: 'integer', minimum: 0, maximum: 150 },
    tags: { type: 'array', items: { enum: ['a', 'b'] }, maxItems: 2 },
    mother: { anyOf: [{ $ref: '#' }, { type: 'null' }] },
    kind: { const: 'person' },
  },
  required: ['name'],
  additionalProperties: false,
}

describe('conforms', () => {
  it.each([
    [{ name: 'Ada' }],
    [{ name: 'Ada', age: 36, tags: ['a', 'b'], kind: 'person' }],
    [{ name: 'Ada', mother: { name: 'Annabella', mother: null } }],
  ])('takes %j', (value) => expect(conforms(value, person)).toBe(true))

  it.each([
    ['nothing', null],
    ['another type', []],
    ['a missing field', { age: 3 }],
    ['an empty string', { name: '' }],
    ['a fraction for an integer', { name: 'Ada', age: 3.5 }],
    ['a number out of bounds', { name: 'Ada', age: 151 }],
    ['an unknown option', { name: 'Ada', tags: ['c'] }],
    ['too many items', { name: 'Ada', tags: ['a', 'b', 'a'] }],
    ['a field that is not allowed', { name: 'Ada', surname: 'L' }],
    ['another constant', { name: 'Ada', kind: 'dog' }],
    ['a mistake far down', { name: 'Ada', mother: { name: 'A', mother: { name: 3 } } }],
  ])('refuses %s', (_name, value) => expect(conforms(value, person)).toBe(false))

  it('follows definitions and knows what it does not know', () => {
    const schema = { $ref: '#/$defs/a~1b', $defs: { 'a/b': { type: 'string', pattern: '(a+)+$', format: 'date' } } }
    expect(conforms('x', schema)).toBe(true)
    expect(conforms(3, schema)).toBe(false)
    expect(conforms(3, { $ref: 'https://example.test/schema' })).toBe(true)
    expect(conforms(3, 'no schema')).toBe(true)
    expect(conforms({ a: 1 }, { patternProperties: { '^a': {} }, additionalProperties: false })).toBe(true)
  })

  it('ends on schemas and values without end', () => {
    const loop = { anyOf: [{ $ref: '#' }, { $ref: '#' }] }
    expect(conforms({}, loop)).toBe(true)
    let deep: unknown = 0
    for (let level = 0; level < 10_000; level++) deep = [deep]
    expect(conforms(deep, { items: { $ref: '#' }, type: 'array' })).toBe(true)
    const wide = Array.from({ length: 200_000 }, () => 'a')
    expect(conforms(wide, { type: 'array', items: { type: 'string' } })).toBe(true)
  })

  it('is not led astray by names of the prototype', () => {
    const schema = { type: 'object', properties: {}, additionalProperties: false }
    expect(conforms(JSON.parse('{"__proto__": 1}'), schema)).toBe(false)
    expect(conforms({}, { type: 'object', required: ['toString'] })).toBe(false)
  })
})
