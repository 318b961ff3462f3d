import { describe, expect, it } from 'vitest'
import { SseParser } from './sse-parser.ts'
import { StreamedChat, StreamedResponse } from './streamed-answer.ts'

const parse = (text: string, size: number) => {
  const parser = new SseParser()
  const bytes = Buffer.from(text)
  const events: unknown[] = []
  for (let at = 0; at < bytes.length; at += size) events.push(...parser.push(bytes.subarray(at, at + size)))
  events.push(...parser.flush())
  return { events, done: parser.done }
}

describe('server-sent events', () => {
  it('are the same however the bytes are cut', () => {
    const text =
      ': hello\n\nevent: x\ndata: {"a":"åäö🙂"}\n\ndata: {"b":\ndata: 2}\r\n\r\ndata:{"c":3}\n\ndata: [DONE]\n\n'
    for (let size = 1; size < text.length; size++) {
      expect(parse(text, size)).toEqual({ events: [{ a: 'åäö🙂' }, { b: 2 }, { c: 3 }], done: true })
    }
  })

  it('may end without an empty line, and are nothing when they are cut', () => {
    expect(parse('data: {"a":1}', 3).events).toEqual([{ a: 1 }])
    expect(() => parse('data: {"a":', 3)).toThrow(SyntaxError)
  })
})

describe('a streamed chat completion', () => {
  const chunk = (delta: object, more: object = {}, index = 0) => ({
    id: 'c1',
    object: 'chat.completion.chunk',
    model: 'gpt',
    choices: [{ index, delta, finish_reason: null, ...more }],
  })

  it('is put together per choice, tool calls and log probabilities included', () => {
    const answer = new StreamedChat()
    const outputs = [
      { id: '', model: '', choices: [], prompt_filter_results: [{ prompt_index: 0 }] },
      chunk({ role: 'assistant', content: '' }),
      chunk({ content: 'Hel' }, { logprobs: { content: [{ token: 'Hel' }] } }),
      chunk({ content: 'lo' }, { logprobs: { content: [{ token: 'lo' }] } }),
      chunk({ tool_calls: [{ index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '' } }] }, {}, 1),
      chunk({ tool_calls: [{ index: 0, function: { arguments: '{"x"' } }] }, {}, 1),
      chunk({ tool_calls: [{ index: 1, id: 'b', type: 'function', function: { name: 'g', arguments: '{}' } }] }, {}, 1),
      chunk({ tool_calls: [{ index: 0, function: { arguments: ':1}' } }] }, {}, 1),
      chunk({}, { finish_reason: 'tool_calls' }, 1),
      chunk({}, { finish_reason: 'stop' }),
    ].map((event) => answer.push(event))
    expect(outputs.slice(0, 3)).toEqual([false, false, true])
    answer.push({ id: 'c1', choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } })
    expect(answer.whole()).toMatchObject({
      id: 'c1',
      object: 'chat.completion',
      model: 'gpt',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'Hello', refusal: null },
          logprobs: { content: [{ token: 'Hel' }, { token: 'lo' }] },
          finish_reason: 'stop',
        },
        {
          index: 1,
          message: {
            content: null,
            tool_calls: [
              { id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
              { id: 'b', type: 'function', function: { name: 'g', arguments: '{}' } },
            ],
          },
          finish_reason: 'tool_calls',
        },
      ],
      usage: { prompt_tokens: 3 },
    })
  })

  it('is not complete before every choice has ended', () => {
    const answer = new StreamedChat()
    expect(answer.whole()).toBeUndefined()
    answer.push(chunk({ content: 'a' }, { finish_reason: 'stop' }))
    answer.push(chunk({ content: 'b' }, {}, 1))
    expect(answer.whole()).toBeUndefined()
  })

  it('may fail in the middle, and nothing strange breaks it', () => {
    const answer = new StreamedChat()
    for (const odd of [null, 3, [], { choices: 'x' }, { choices: [null] }, chunk({ tool_calls: ['x'] })])
      answer.push(odd)
    answer.push({ error: { code: 'server_error', message: 'no' } })
    expect(answer.failure).toMatchObject({ code: 'server_error' })
  })
})

it('a streamed response is the one of its last event', () => {
  const answer = new StreamedResponse()
  expect(answer.push({ type: 'response.created', response: { status: 'in_progress' } })).toBe(false)
  expect(answer.push({ type: 'response.output_text.delta', delta: 'a' })).toBe(true)
  expect(answer.whole()).toBeUndefined()
  answer.push({ type: 'response.completed', response: { id: 'r', status: 'completed' } })
  expect(answer.whole()).toEqual({ id: 'r', status: 'completed' })
  const failed = new StreamedResponse()
  failed.push({ type: 'response.failed', response: { error: { code: 'server_error' } } })
  expect(failed.failure).toEqual({ code: 'server_error' })
})
