import type { DeploymentUrl } from '@sluice/contracts'
import { array, assert, constantFrom, integer, property } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ForwardStream } from './forward-stream.ts'

const chunk = (delta: object | undefined, more: object = {}) =>
  `data: ${JSON.stringify({ choices: delta === undefined ? [] : [{ index: 0, delta, finish_reason: null }], ...more })}\n\n`
const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
const done = 'data: [DONE]\n\n'

function read(text: string, options: { strip?: boolean; pieces?: number; url?: DeploymentUrl } = {}) {
  const { strip = false, pieces = text.length, url = '/v1/chat/completions' } = options
  const stream = new ForwardStream(url, strip)
  const bytes = Buffer.from(text)
  const out: Buffer[] = []
  for (let at = 0; at < bytes.length; at += pieces)
    out.push(Buffer.from(stream.push(Buffer.from(bytes.subarray(at, at + pieces)))))
  out.push(stream.flush())
  return { stream, text: Buffer.concat(out).toString('utf8') }
}

describe('output begins', () => {
  it.each([
    ['with a text', chunk({ content: 'x' }), 'output'],
    ['with a call of a tool', chunk({ tool_calls: [{ index: 0 }] }), 'output'],
    ['with a refusal', chunk({ refusal: 'no' }), 'output'],
    ['with reasoning', chunk({ reasoning_content: 'hm' }), 'output'],
    ['not with a role', chunk({ role: 'assistant', content: '', refusal: null }), 'preamble'],
    ['not with Azure’s filter results', chunk(undefined, { prompt_filter_results: [] }), 'preamble'],
    ['not with a comment', ': keep-alive\n\n', 'preamble'],
    ['not with an error', 'data: {"error":{"message":"m","code":"c"}}\n\n', 'failed'],
    ['with what nobody knows', 'data: {"other":1}\n\n', 'output'],
  ])('%s', (_name, text, state) => {
    expect(read(text).stream.state).toBe(state)
  })

  it.each([
    ['response.created', 'preamble'],
    ['response.in_progress', 'preamble'],
    ['response.output_item.added', 'preamble'],
    ['response.output_text.delta', 'output'],
    ['response.function_call_arguments.delta', 'output'],
    ['response.completed', 'finished'],
    ['response.incomplete', 'finished'],
    ['response.failed', 'failed'],
    ['error', 'failed'],
  ])('in responses: %s', (type, state) => {
    const event = `event: ${type}\ndata: ${JSON.stringify({ type, response: { usage: { input_tokens: 1 }, error: { code: 'x' } } })}\n\n`
    expect(read(event, { url: '/v1/responses' }).stream.state).toBe(state)
  })
})

describe('sound, whose streams have no [DONE]', () => {
  it.each([
    ['/v1/audio/transcriptions', 'transcript.text'],
    ['/v1/audio/speech', 'speech.audio'],
  ] as const)('%s', (url, name) => {
    const delta = `data: ${JSON.stringify({ type: `${name}.delta`, delta: '"speech.audio.done"' })}\n\n`
    expect(read(delta, { url }).stream.state).toBe('output')
    const last = { type: `${name}.done`, usage: { input_tokens: 3, output_tokens: 2 } }
    const { stream } = read(`${delta}${delta}data: ${JSON.stringify(last)}\n\n`, { url, pieces: 9 })
    expect(stream).toMatchObject({ state: 'finished', usage: { input_tokens: 3, output_tokens: 2 } })
    const unpriced = `data: ${JSON.stringify({ type: last.type })}\n\n`
    expect(read(delta + unpriced, { url, pieces: 9 }).stream.state).toBe('finished')
    expect(read(`${delta}data: {"type":"error","code":"x"}\n\n`, { url }).stream.state).toBe('failed')
  })
})

describe('usage', () => {
  const text =
    chunk({ content: 'a' }, { usage: null }) +
    chunk({ content: 'b' }, { usage: null }) +
    chunk(undefined, { usage }) +
    done

  it.each([1, 2, 5, 40, 1000])('is counted and taken out, in pieces of %d', (pieces) => {
    const { stream, text: out } = read(text, { strip: true, pieces })
    expect(stream).toMatchObject({ state: 'finished', usage: { input_tokens: 3, output_tokens: 2 } })
    expect(out).not.toContain('usage')
    const events = out
      .split('\n\n')
      .filter(Boolean)
      .map((event) => event.slice('data: '.length))
    expect(events).toHaveLength(3)
    expect(
      events.slice(0, 2).map((event) => (JSON.parse(event) as { choices: [{ delta: object }] }).choices[0].delta),
    ).toEqual([{ content: 'a' }, { content: 'b' }])
    expect(events[2]).toBe('[DONE]')
  })

  it('stays where it was asked for', () => {
    expect(read(text).text).toBe(text)
  })

  it('is that of the last event of a response', () => {
    const event = { type: 'response.completed', response: { usage: { input_tokens: 7, output_tokens: 8 } } }
    const { stream } = read(`event: response.completed\ndata: ${JSON.stringify(event)}\n\n`, { url: '/v1/responses' })
    expect(stream.usage).toMatchObject({ input_tokens: 7, output_tokens: 8 })
  })
})

it('hands on every byte in order, however they come, with LF and CRLF', () => {
  const events = constantFrom(
    chunk({ content: 'plain' }),
    chunk({ content: 'tricky "usage":{ \n\n data: [DONE] ,"usage":null' }),
    chunk({ content: 'ünïcödé' }),
    ': comment\n\n',
    'data: {"choices":[{"delta":{"content":"crlf"}}]}\r\n\r\n',
  )
  assert(
    property(array(events, { minLength: 1, maxLength: 8 }), integer({ min: 1, max: 60 }), (list, pieces) => {
      const text = list.join('')
      const { stream, text: out } = read(text + done, { pieces })
      expect(out).toBe(text + done)
      expect(stream.state).toBe('finished')
    }),
  )
})
