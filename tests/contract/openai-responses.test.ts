import { NotFoundError } from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTwin } from './openai-twin.ts'
import type { TwinUnderTest } from './openai-twin.ts'

const weather = {
  type: 'function' as const,
  name: 'get_weather',
  description: 'Current weather',
  strict: true,
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  },
}

describe('responses', () => {
  let under: TwinUnderTest

  beforeAll(async () => {
    under = await startTwin([
      { name: 'chat', model: 'gpt-4.1', ability: 1 },
      { name: 'reasoner', model: 'gpt-5', ability: 1 },
    ])
  })
  afterAll(() => under.close())

  test('answers in output_text with usage, for both clients', async () => {
    for (const client of [under.openai, under.azure]) {
      const response = await client.responses.create({
        model: 'chat',
        input: 'Where? [answer=Lund]',
        instructions: 'Be brief',
      })
      expect(response).toMatchObject({ object: 'response', status: 'completed', error: null, incomplete_details: null })
      expect(response.output_text).toContain('Lund')
      expect(response.usage?.output_tokens).toBeGreaterThan(0)
    }
  })

  test('streams numbered events that end in the finished response', async () => {
    const whole = await under.openai.responses.create({ model: 'chat', input: 'Explain tides' })
    const stream = await under.openai.responses.create({ model: 'chat', input: 'Explain tides', stream: true })
    const events = await Array.fromAsync(stream)
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index))
    expect(events[0]?.type).toBe('response.created')
    const text = events.reduce(
      (sum, event) => (event.type === 'response.output_text.delta' ? sum + event.delta : sum),
      '',
    )
    expect(text).toBe(whole.output_text)
    const last = events.at(-1)
    if (last?.type !== 'response.completed') throw new Error(`ended with ${last?.type}`)
    expect(last.response.usage).toEqual(whole.usage)
  })

  test('a function is called and its output answered', async () => {
    const first = await under.openai.responses.create({ model: 'chat', input: 'Weather in Oslo?', tools: [weather] })
    const call = first.output.find((item) => item.type === 'function_call')
    if (!call) throw new Error('expected a function call')
    expect(typeof (JSON.parse(call.arguments) as { city: unknown }).city).toBe('string')
    const second = await under.openai.responses.create({
      model: 'chat',
      previous_response_id: first.id,
      tools: [weather],
      input: [{ type: 'function_call_output', call_id: call.call_id, output: '12 degrees' }],
    })
    expect(second.output_text).not.toBe('')
    expect(second.usage?.input_tokens).toBeGreaterThan(first.usage?.input_tokens ?? Infinity)
  })

  test('streamed arguments add up', async () => {
    const stream = await under.openai.responses.create({
      model: 'chat',
      input: 'Weather in Oslo?',
      tools: [weather],
      stream: true,
    })
    let deltas = ''
    let done = ''
    for await (const event of stream) {
      if (event.type === 'response.function_call_arguments.delta') deltas += event.delta
      if (event.type === 'response.function_call_arguments.done') done = event.arguments
    }
    expect(deltas).toBe(done)
    expect(done).not.toBe('')
  })

  test('text.format json_schema gives a valid instance', async () => {
    const response = await under.openai.responses.create({
      model: 'chat',
      input: 'Name a city',
      text: {
        format: {
          type: 'json_schema',
          name: 'city',
          schema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
        },
      },
    })
    expect(typeof (JSON.parse(response.output_text) as { name: unknown }).name).toBe('string')
  })

  test('max_output_tokens makes it incomplete, with the reason', async () => {
    const response = await under.openai.responses.create({
      model: 'chat',
      input: 'Long [tokens=200]',
      max_output_tokens: 16,
    })
    expect(response).toMatchObject({
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      usage: { output_tokens: 16 },
    })
  })

  test('a reasoning model lists its reasoning before its message and counts it', async () => {
    const response = await under.openai.responses.create({
      model: 'reasoner',
      input: 'Think',
      reasoning: { effort: 'high' },
    })
    expect(response.output.map((item) => item.type)).toEqual(['reasoning', 'message'])
    expect(response.usage?.output_tokens_details.reasoning_tokens).toBeGreaterThan(0)
  })

  test('a stored response is read back and deleted; one that was not stored is not found', async () => {
    const stored = await under.openai.responses.create({ model: 'chat', input: 'Hi' })
    expect((await under.openai.responses.retrieve(stored.id)).output_text).toBe(stored.output_text)
    expect((await under.openai.responses.inputItems.list(stored.id)).data.length).toBe(2)
    await under.openai.responses.delete(stored.id)
    await expect(under.openai.responses.retrieve(stored.id)).rejects.toBeInstanceOf(NotFoundError)
    const unstored = await under.openai.responses.create({ model: 'chat', input: 'Hi', store: false })
    await expect(under.openai.responses.retrieve(unstored.id)).rejects.toBeInstanceOf(NotFoundError)
    await expect(
      under.openai.responses.create({ model: 'chat', input: 'x', previous_response_id: unstored.id }),
    ).rejects.toMatchObject({
      status: 400,
      code: 'previous_response_not_found',
    })
  })

  test('a missing input and a filtered prompt are 400s', async () => {
    await expect(under.openai.responses.create({ model: 'chat' })).rejects.toMatchObject({
      status: 400,
      param: 'input',
    })
    await expect(
      under.openai.responses.create({ model: 'chat', input: '[content_filter=hate]' }),
    ).rejects.toMatchObject({ code: 'content_filter' })
  })
})
