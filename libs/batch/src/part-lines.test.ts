import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { bodyOf, indexedLines, linesFor, partLine } from './part-lines.ts'

async function* chunks(text: string, size: number) {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

test('the model is filled in, whatever else looks like it', async () => {
  const body = { model: 'auto', stream: true, messages: [{ role: 'user', content: 'say "model":"@" and\n\u2028 go' }] }
  const kept = partLine(7, '/v1/chat/completions', body) + partLine(8, '/v1/chat/completions', { model: 'auto' })
  let text = ''
  for await (const chunk of linesFor('gpt "x"', chunks(kept, 5))) text += Buffer.from(chunk).toString()
  const [first, second] = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as object)
  expect(first).toEqual({
    custom_id: '7',
    method: 'POST',
    url: '/chat/completions',
    body: { model: 'gpt "x"', messages: body.messages },
  })
  expect(second).toMatchObject({ custom_id: '8', body: { model: 'gpt "x"' } })
})

test('a line is found again with its place and its body', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.json(), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 1, max: 50 }),
      async (values, size) => {
        const text = values.map((value, n) => partLine(n * 3, '/v1/embeddings', { model: 'm', input: value })).join('')
        const found = []
        for await (const { index, bytes } of indexedLines(chunks(text, size))) found.push([index, bodyOf(bytes)])
        expect(found).toEqual(values.map((value, n) => [n * 3, { input: value }]))
      },
    ),
  )
})
