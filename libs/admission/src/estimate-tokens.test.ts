import { describe, expect, it } from 'vitest'
import { estimateTokens } from './estimate-tokens.ts'

const chat = (content: unknown, more: object = {}) =>
  estimateTokens({ model: 'auto', messages: [{ role: 'user', content }], ...more }, '/v1/chat/completions')

describe('estimateTokens', () => {
  it('is a quarter of the characters plus the most that may be generated', () => {
    expect(chat('x'.repeat(393), { max_tokens: 100 })).toBe(200)
    expect(chat('x'.repeat(394), { max_tokens: 100 })).toBe(201)
    expect(chat('x'.repeat(393), { max_completion_tokens: 300, max_tokens: 100 })).toBe(400)
  })

  it('multiplies the output by the answers asked for', () => {
    expect(chat('', { max_tokens: 100, n: 4 }) - chat('', { max_tokens: 100 })).toBe(300)
    expect(chat('', { max_tokens: 100, best_of: 3 }) - chat('', { max_tokens: 100 })).toBe(200)
  })

  it('assumes a little output where no maximum is named', () => {
    expect(chat('x'.repeat(393))).toBe(100 + 16)
  })

  it('counts images by their detail and never by their bytes', () => {
    const image = (detail?: string) => [{ type: 'image_url', image_url: { url: `data:${'A'.repeat(10_000)}`, detail } }]
    expect(chat(image()) - chat([])).toBe(765)
    expect(chat(image('low')) - chat([])).toBe(85)
    const input = [{ role: 'user', content: [{ type: 'input_image', image_url: 'https://x.test', detail: 'low' }] }]
    expect(estimateTokens({ model: 'auto', input }, '/v1/responses')).toBe(2 + 85 + 16)
  })

  it('counts tools, tool calls and their results', () => {
    const tools = [{ type: 'function', function: { name: 'look_up', parameters: {} } }]
    expect(chat('', { tools })).toBe(2 + Math.ceil(JSON.stringify(tools).length / 4) + 16)
    const call = { role: 'assistant', tool_calls: [{ id: '1', function: { name: 'f', arguments: '{"a":"b"}' } }] }
    const result = { type: 'function_call_output', output: 'x'.repeat(400) }
    expect(estimateTokens({ model: 'auto', messages: [call] }, '/v1/chat/completions')).toBeGreaterThan(25)
    expect(estimateTokens({ model: 'auto', input: [result] }, '/v1/responses')).toBeGreaterThan(115)
  })

  it('reads the responses API: a text is a message of the user, instructions one of the system', () => {
    const asText = estimateTokens({ model: 'auto', input: 'x'.repeat(393) }, '/v1/responses')
    expect(asText).toBe(chat('x'.repeat(393)))
    const more = { instructions: 'x'.repeat(391), max_output_tokens: 50 }
    expect(estimateTokens({ model: 'auto', input: 'x'.repeat(393), ...more }, '/v1/responses')).toBe(250)
  })

  it('counts no output for embeddings, and token lists as they are spelled', () => {
    expect(estimateTokens({ model: 'e', input: 'x'.repeat(400) }, '/v1/embeddings')).toBe(100)
    expect(estimateTokens({ model: 'e', input: ['x'.repeat(200), 'y'.repeat(200)] }, '/v1/embeddings')).toBe(100)
    expect(estimateTokens({ model: 'e', input: [[123, 456], [789]] }, '/v1/embeddings')).toBe(3)
  })

  it.each([
    ['nothing', {}],
    ['wrong types', { messages: 7, tools: 'x', n: 'many', max_tokens: -3 }],
    ['messages that are none', { messages: [null, 3, 'x', { content: [null, 7] }] }],
  ])('is a positive number for %s', (_name, fields) => {
    const tokens = estimateTokens({ model: 'auto', ...fields }, '/v1/chat/completions')
    expect(Number.isInteger(tokens) && tokens > 0).toBe(true)
  })
})
