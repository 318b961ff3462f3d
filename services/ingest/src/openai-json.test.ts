import { assert, constantFrom, dictionary, jsonValue, oneof, property, string } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { editMembers } from './openai-json.ts'

const edited = (text: string, edits: Record<string, string | undefined>) =>
  editMembers(text, new Map(Object.entries(edits)))

describe('editMembers', () => {
  it('replaces a value and nothing else', () => {
    const text = '{ "n" : 1.0e2, "model" : "auto" , "messages":[{"model":"auto"}] }'
    expect(edited(text, { model: '"gpt"' })).toBe('{ "n" : 1.0e2, "model" : "gpt" , "messages":[{"model":"auto"}] }')
  })

  it.each([
    ['{"model":"a","model":"b"}', '{"model":"x","model":"x"}'],
    ['{"mod\\u0065l":"a"}', '{"mod\\u0065l":"x"}'],
    ['{"model":null,"a":1}', '{"model":"x","a":1}'],
    ['{"a":"\\"model\\":\\\\","model":7}', '{"a":"\\"model\\":\\\\","model":"x"}'],
    ['{}', '{"model":"x"}'],
    [' {"a":1} ', '{"model":"x","a":1} '],
  ])('in %s', (text, expected) => {
    expect(edited(text, { model: '"x"' })).toBe(expected)
  })

  it.each([
    ['{"sluice":{"a":[1,"}"]},"b":1}', { b: 1 }],
    ['{"b":1,"sluice":{}}', { b: 1 }],
    ['{"b":1 , "sluice":{} , "c":2}', { b: 1, c: 2 }],
    ['{"sluice":1}', {}],
    ['{"sluice":1,"sluice":2}', {}],
    ['{"sluice":1,"a":",","sluice":2}', { a: ',' }],
  ])('removes from %s', (text, expected) => {
    expect(JSON.parse(edited(text, { sluice: undefined }))).toEqual(expected)
  })

  it('agrees with parsing, changing and printing, for any object', () => {
    assert(
      property(
        dictionary(oneof(constantFrom('model', 'sluice', 'stream_options'), string()), jsonValue()),
        constantFrom(undefined, 1, '\t'),
        (value, indent) => {
          const { sluice: _, ...rest } = value
          const result = edited(JSON.stringify(value, null, indent), { model: '"gpt \\"4\\""', sluice: undefined })
          const expected = { ...rest, model: 'gpt "4"' }
          expect(JSON.parse(result)).toEqual(JSON.parse(JSON.stringify(expected)))
        },
      ),
    )
  })
})
