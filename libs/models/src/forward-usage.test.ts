import { describe, expect, it } from 'vitest'
import { usageInTail } from './forward-usage.ts'

const tail = (text: string) => usageInTail(Buffer.from(text))

describe('usageInTail', () => {
  it.each([
    ['{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}', 3, 4],
    ['{ "usage" : { "input_tokens": 5,\n "output_tokens": 6 }, "user": null }', 5, 6],
    [
      '…cut off","usage":{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":1},"completion_tokens":4},"x":{}}',
      3,
      4,
    ],
    ['{"usage":{"prompt_tokens":1,"note":"}\\"{"},"message":"say \\"usage\\":{\\"prompt_tokens\\":9}"}', 1, 0],
    ['{"usage":{"prompt_tokens":1},"metadata":{"usage":"none"},"tags":["usage"]}', 1, 0],
  ])('%s', (text, input, output) => {
    expect(tail(text)).toMatchObject({ input_tokens: input, output_tokens: output })
  })

  it.each(['', '{}', '{"usage":null}', '{"usage":{"prompt_tokens":', 'usage', '"usage"'])('%s has none', (text) => {
    expect(tail(text)).toBeUndefined()
  })
})
