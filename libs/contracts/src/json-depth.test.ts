import { expect, test } from 'vitest'
import { decodeLine } from './decode-line.ts'
import { nestsTooDeeply } from './json-depth.ts'

const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)

test.each([
  ['256 levels', nested(256), false],
  ['257 levels', nested(257), true],
  ['objects in lists', `${'[{"a":'.repeat(130)}1${'}]'.repeat(130)}`, true],
  ['many beside each other', `[${'[[]],'.repeat(1_000)}1]`, false],
  ['brackets in a string', `["${'['.repeat(1_000)}"]`, false],
  ['brackets behind escaped quotes', `["\\"${'['.repeat(1_000)}\\\\\\"["]`, false],
  ['brackets behind an escaped backslash', `["\\\\",${nested(300)}]`, true],
  ['a string that does not end', `["${'['.repeat(1_000)}`, false],
])('%s', (_, text, deep) => {
  expect(nestsTooDeeply(text)).toBe(deep)
})

test('a line that would exhaust the stack is refused before it is parsed', () => {
  const line = `{"custom_id":"x","method":"POST","url":"/v1/embeddings","body":{"input":"a","x":${nested(20_000)}}}`
  expect(() => decodeLine(line)).toThrow(expect.objectContaining({ code: 'invalid_json' }) as Error)
})
