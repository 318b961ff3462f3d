import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTwin } from './openai-twin.ts'
import type { TwinUnderTest } from './openai-twin.ts'

const weatherTool = {
  type: 'function' as const,
  function: {
    name: 'get_weather',
    description: 'Current weather of a city',
    parameters: {
      type: 'object',
      properties: {
        city: { type: 'string' },
        unit: { type: 'string', enum: ['celsius', 'fahrenheit'] },
        days: { type: 'integer', minimum: 1, maximum: 7 },
      },
      required: ['city', 'unit', 'days'],
      additionalProperties: false,
    },
  },
}
const otherTool = {
  type: 'function' as const,
  function: {
    name: 'send_invoice',
    description: 'Send an invoice to a customer',
    parameters: { type: 'object', properties: {} },
  },
}

describe('chat completions', () => {
  let under: TwinUnderTest
  const ask = (content: string) => ({ messages: [{ role: 'user' as const, content }] })

  beforeAll(async () => {
    under = await startTwin([
      { name: 'chat', model: 'gpt-4.1', model_version: '2025-04-14', ability: 1 },
      { name: 'reasoner', model: 'o4-mini', ability: 1 },
      { name: 'slow', model: 'gpt-4.1', latency: { first_token_ms: 30, per_token_ms: 5 } },
      { name: 'router', model: 'model-router', kind: 'model-router', routes_to: ['tiny', 'huge'] },
    ])
  })
  afterAll(() => under.close())

  test('answers in the shape of a completion, with the annotations that Azure adds', async () => {
    const completion = await under.openai.chat.completions.create({
      model: 'chat',
      ...ask('Where is Stockholm? [answer=Sweden]'),
    })
    expect(completion.object).toBe('chat.completion')
    expect(completion.id).toMatch(/^chatcmpl-/)
    expect(completion.model).toBe('gpt-4.1-2025-04-14')
    expect(completion.choices[0]?.message.content).toContain('Sweden')
    expect(completion.choices[0]?.finish_reason).toBe('stop')
    expect(completion.usage?.total_tokens).toBe(
      (completion.usage?.prompt_tokens ?? 0) + (completion.usage?.completion_tokens ?? 0),
    )
    expect(completion).toHaveProperty('prompt_filter_results')
    expect(completion.choices[0]).toHaveProperty('content_filter_results.violence.filtered', false)
  })

  test('the Azure client reaches the same deployment by its path', async () => {
    const completion = await under.azure.chat.completions.create({ model: 'chat', ...ask('Hello there') })
    const same = await under.openai.chat.completions.create({ model: 'chat', ...ask('Hello there') })
    expect(completion.choices[0]?.message.content).toBe(same.choices[0]?.message.content)
  })

  test('the answer depends on the prompt and on nothing else', async () => {
    const text = async (content: string) =>
      (await under.openai.chat.completions.create({ model: 'chat', ...ask(content) })).choices[0]?.message.content
    expect(await text('Explain tides')).toBe(await text('Explain tides'))
    expect(await text('Explain tides')).not.toBe(await text('Explain glaciers'))
  })

  test('streams one chunk a token, which add up to the answer, and usage when asked', async () => {
    const request = { model: 'chat', ...ask('Explain tides in a few words') }
    const whole = await under.openai.chat.completions.create(request)
    const stream = await under.openai.chat.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    })
    let text = ''
    let contentChunks = 0
    let finish: string | null = null
    let usage
    for await (const chunk of stream) {
      const delta = chunk.choices[0]?.delta.content
      if (delta) contentChunks++
      text += delta ?? ''
      finish = chunk.choices[0]?.finish_reason ?? finish
      usage = chunk.usage ?? usage
    }
    expect(text).toBe(whole.choices[0]?.message.content)
    expect(finish).toBe('stop')
    expect(usage).toEqual(whole.usage)
    expect(contentChunks).toBe(whole.usage?.completion_tokens)
  })

  test('the first chunk carries the prompt annotations and no choice, as Azure sends it', async () => {
    const stream = await under.azure.chat.completions.create({ model: 'chat', ...ask('Hi'), stream: true })
    const chunks = []
    for await (const chunk of stream) chunks.push(chunk)
    expect(chunks[0]?.choices).toEqual([])
    expect(chunks[0]).toHaveProperty('prompt_filter_results')
    expect(chunks[1]?.choices[0]?.delta.role).toBe('assistant')
  })

  test('latency is spent before the first token and between tokens', async () => {
    const startedAt = performance.now()
    const stream = await under.openai.chat.completions.create({
      model: 'slow',
      ...ask('Count [tokens=20]'),
      stream: true,
    })
    let firstAt = 0
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content && firstAt === 0) firstAt = performance.now()
    expect(firstAt - startedAt).toBeGreaterThanOrEqual(29)
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(30 + 19 * 5 - 1)
  })

  test('max_tokens ends the answer with finish_reason length at exactly that many tokens', async () => {
    for (const limit of [{ max_tokens: 3 }, { max_completion_tokens: 3 }]) {
      const completion = await under.openai.chat.completions.create({
        model: 'chat',
        ...ask('Explain tides at length'),
        ...limit,
      })
      expect(completion.choices[0]?.finish_reason).toBe('length')
      expect(completion.usage?.completion_tokens).toBe(3)
    }
  })

  test('[tokens=N] gives an answer of N tokens', async () => {
    const completion = await under.openai.chat.completions.create({ model: 'chat', ...ask('Long [tokens=500]') })
    expect(completion.usage?.completion_tokens).toBe(500)
    expect(completion.choices[0]?.finish_reason).toBe('stop')
  })

  test('stop cuts the text before the sequence', async () => {
    const completion = await under.openai.chat.completions.create({
      model: 'chat',
      ...ask('Where? [answer=Paris]'),
      stop: ['Paris'],
    })
    expect(completion.choices[0]?.message.content).not.toContain('Paris')
    expect(completion.choices[0]?.finish_reason).toBe('stop')
  })

  test('n gives n choices, streamed ones by index', async () => {
    const completion = await under.openai.chat.completions.create({ model: 'chat', ...ask('Three ideas'), n: 3 })
    expect(completion.choices.map((choice) => choice.index)).toEqual([0, 1, 2])
    expect(new Set(completion.choices.map((choice) => choice.message.content)).size).toBeGreaterThan(1)
    const seen = new Set<number>()
    for await (const chunk of await under.openai.chat.completions.create({
      model: 'chat',
      ...ask('Three ideas'),
      n: 3,
      stream: true,
    })) {
      for (const choice of chunk.choices) seen.add(choice.index)
    }
    expect([...seen]).toEqual([0, 1, 2])
  })

  test('a tool is called with arguments that its schema allows, then its result is answered in words', async () => {
    const messages = [{ role: 'user' as const, content: 'How is the weather in Oslo?' }]
    const completion = await under.openai.chat.completions.create({
      model: 'chat',
      messages,
      tools: [otherTool, weatherTool],
    })
    const call = completion.choices[0]?.message.tool_calls?.[0]
    expect(completion.choices[0]?.finish_reason).toBe('tool_calls')
    expect(completion.choices[0]?.message.content).toBeNull()
    if (call?.type !== 'function') throw new Error('expected a function call')
    expect(call.function.name).toBe('get_weather')
    const args = JSON.parse(call.function.arguments) as { city: unknown; unit: string; days: number }
    expect(typeof args.city).toBe('string')
    expect(['celsius', 'fahrenheit']).toContain(args.unit)
    expect(Number.isInteger(args.days) && args.days >= 1 && args.days <= 7).toBe(true)
    const answered = await under.openai.chat.completions.create({
      model: 'chat',
      tools: [weatherTool],
      messages: [
        ...messages,
        { role: 'assistant', content: null, tool_calls: [call] },
        { role: 'tool', tool_call_id: call.id, content: '12 degrees' },
      ],
    })
    expect(answered.choices[0]?.finish_reason).toBe('stop')
    expect(answered.choices[0]?.message.content).not.toBe('')
  })

  test('streamed tool calls assemble to the same arguments', async () => {
    const request = { model: 'chat', ...ask('How is the weather in Oslo?'), tools: [weatherTool] }
    const whole = await under.openai.chat.completions.create(request)
    const streamed = await under.openai.chat.completions.stream(request).finalChatCompletion()
    const [expected] = whole.choices[0]?.message.tool_calls ?? []
    const [actual] = streamed.choices[0]?.message.tool_calls ?? []
    if (expected?.type !== 'function' || actual?.type !== 'function') throw new Error('expected function calls')
    expect(actual.function.arguments).toBe(expected.function.arguments)
    expect(streamed.choices[0]?.finish_reason).toBe('tool_calls')
  })

  test('tool_choice none forbids calls, a named function forces it', async () => {
    const none = await under.openai.chat.completions.create({
      model: 'chat',
      ...ask('Weather?'),
      tools: [weatherTool],
      tool_choice: 'none',
    })
    expect(none.choices[0]?.message.tool_calls).toBeUndefined()
    const named = await under.openai.chat.completions.create({
      model: 'chat',
      ...ask('Weather?'),
      tools: [weatherTool, otherTool],
      tool_choice: { type: 'function', function: { name: 'send_invoice' } },
    })
    const call = named.choices[0]?.message.tool_calls?.[0]
    expect(call?.type === 'function' && call.function.name).toBe('send_invoice')
  })

  test('json_schema answers are valid instances, with the stated answer inside', async () => {
    const completion = await under.openai.chat.completions.create({
      model: 'chat',
      ...ask('Extract the event. [answer=fair]'),
      response_format: {
        type: 'json_schema',
        json_schema: {
          name: 'event',
          strict: true,
          schema: {
            type: 'object',
            properties: {
              answer: { type: 'string' },
              date: { type: 'string', format: 'date' },
              code: { type: 'string', pattern: '^[A-Z]{3}-\\d{2,4}$' },
              score: { type: 'number', minimum: 0, maximum: 1 },
              people: { type: 'array', minItems: 2, items: { $ref: '#/$defs/person' } },
              note: { anyOf: [{ type: 'string' }, { type: 'null' }] },
            },
            required: ['answer', 'date', 'code', 'score', 'people', 'note'],
            additionalProperties: false,
            $defs: {
              person: {
                type: 'object',
                properties: { name: { type: 'string' } },
                required: ['name'],
                additionalProperties: false,
              },
            },
          },
        },
      },
    })
    const value = JSON.parse(completion.choices[0]?.message.content ?? '') as Record<string, unknown>
    expect(value['answer']).toBe('fair')
    expect(value['date']).toMatch(/^\d{4}-\d{2}-\d{2}$/)
    expect(value['code']).toMatch(/^[A-Z]{3}-\d{2,4}$/)
    expect(value['score']).toBeGreaterThanOrEqual(0)
    expect(value['score']).toBeLessThanOrEqual(1)
    const people = value['people'] as { name: string }[]
    expect(people.length).toBeGreaterThanOrEqual(2)
    expect(people.every((person) => typeof person.name === 'string')).toBe(true)
    expect(value['note'] === null || typeof value['note'] === 'string').toBe(true)
  })

  test('json_object answers parse, and the word json is required in the prompt', async () => {
    const completion = await under.openai.chat.completions.create({
      model: 'chat',
      ...ask('Answer in json'),
      response_format: { type: 'json_object' },
    })
    expect(typeof JSON.parse(completion.choices[0]?.message.content ?? '')).toBe('object')
    const refused = under.openai.chat.completions.create({
      model: 'chat',
      ...ask('Answer'),
      response_format: { type: 'json_object' },
    })
    await expect(refused).rejects.toMatchObject({ status: 400, param: 'messages' })
  })

  test('logprobs cover every token, alternatives in order and summing to at most 1', async () => {
    const completion = await under.openai.chat.completions.create({
      model: 'chat',
      ...ask('Explain tides'),
      logprobs: true,
      top_logprobs: 4,
    })
    const content = completion.choices[0]?.logprobs?.content ?? []
    expect(content.map((token) => token.token).join('')).toBe(completion.choices[0]?.message.content)
    for (const token of content) {
      expect(token.logprob).toBeLessThanOrEqual(0)
      expect(token.top_logprobs).toHaveLength(4)
      expect(token.top_logprobs.reduce((sum, other) => sum + Math.exp(other.logprob), 0)).toBeLessThanOrEqual(1.0001)
    }
  })

  test('a long prefix that was seen before is reported as cached, in steps of 128 from 1,024', async () => {
    const system = { role: 'system' as const, content: 'You answer politely about the sea. '.repeat(400) }
    const cachedOf = async (content: string) => {
      const completion = await under.openai.chat.completions.create({
        model: 'chat',
        messages: [system, { role: 'user', content }],
      })
      return completion.usage?.prompt_tokens_details?.cached_tokens ?? -1
    }
    expect(await cachedOf('first')).toBe(0)
    const cached = await cachedOf('second')
    expect(cached).toBeGreaterThanOrEqual(1_024)
    expect(cached % 128).toBe(0)
  })

  test('a reasoning model reports its hidden tokens and may use up the maximum with them', async () => {
    const completion = await under.openai.chat.completions.create({ model: 'reasoner', ...ask('Prove it') })
    const reasoning = completion.usage?.completion_tokens_details?.reasoning_tokens ?? 0
    expect(reasoning).toBeGreaterThan(0)
    expect(completion.usage?.completion_tokens).toBeGreaterThan(reasoning)
    const cut = await under.openai.chat.completions.create({
      model: 'reasoner',
      ...ask('Prove it'),
      max_completion_tokens: 10,
    })
    expect(cut.choices[0]).toMatchObject({ finish_reason: 'length', message: { content: '' } })
  })

  test('a model router names the model that it chose: the weak one for easy prompts, the strong one for hard ones', async () => {
    const chosen = async (difficulty: number, i: number) =>
      (await under.openai.chat.completions.create({ model: 'router', ...ask(`Task ${i} [difficulty=${difficulty}]`) }))
        .model
    const easy = await Promise.all(Array.from({ length: 10 }, (_, i) => chosen(0.1, i)))
    const hard = await Promise.all(Array.from({ length: 10 }, (_, i) => chosen(0.9, i)))
    expect(new Set(easy)).toEqual(new Set(['tiny']))
    expect(new Set(hard)).toEqual(new Set(['huge']))
  })

  test('a prompt that spells special tokens, or one unbroken run of 100,000 letters, is just text', async () => {
    const special = await under.openai.chat.completions.create({ model: 'chat', ...ask('say <|endoftext|>') })
    expect(special.choices).toHaveLength(1)
    const run = await under.openai.chat.completions.create({ model: 'chat', ...ask('a'.repeat(100_000)) })
    expect(run.usage?.prompt_tokens).toBeGreaterThan(10_000)
  })
})
