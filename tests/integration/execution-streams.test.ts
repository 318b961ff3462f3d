import { describe, expect, it } from 'vitest'
import { useExecutionBench } from './execution-bench.ts'
import { chat } from './execution-fixture.ts'

const bench = useExecutionBench()
const { start, on } = bench

describe('a stream', () => {
  const deployments = () => [on('mini', 'swedencentral', { tier: 'small' }), on('mini', 'eastus2', { tier: 'small' })]
  const listening = () => {
    const events: { choices?: { delta?: { content?: string } }[] }[] = []
    const text = () => events.map(({ choices }) => choices?.[0]?.delta?.content ?? '').join('')
    return { onDelta: (event: unknown) => void events.push(event as (typeof events)[number]), events, text }
  }

  it('is handed on while it comes and put together at the end, usage included', async () => {
    const { done } = await start(deployments())
    const { onDelta, text, events } = listening()
    const outcome = await done(chat('Tell me a story', { stream: true }), { onDelta })
    expect(events.length).toBeGreaterThan(3)
    expect(outcome.response?.body).toMatchObject({
      object: 'chat.completion',
      choices: [{ index: 0, message: { role: 'assistant', content: text() }, finish_reason: 'stop' }],
    })
    expect(outcome.usage.output_tokens).toBeGreaterThan(0)
    const whole = await done(chat('Tell me a story'))
    expect(whole.response?.body).toMatchObject({ choices: [{ message: { content: text() } }] })
    expect(outcome.usage).toMatchObject({ output_tokens: whole.usage.output_tokens })
  })

  it('of tool calls is put together, too', async () => {
    const { done } = await start(deployments())
    const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
    const tools = [
      { type: 'function', function: { name: 'get_weather', description: 'weather in a city', parameters } },
    ]
    const body = chat('What is the weather in the city of Uppsala?', { tools, stream: true, tool_choice: 'required' })
    const streamed = await done(body, listening())
    type Message = { tool_calls: { function: object; type: string }[] }
    const message = ({ response }: typeof streamed) =>
      (response as { body: { choices: { message: Message }[] } }).body.choices[0]?.message
    const whole = await done({ ...body, stream: false })
    expect(message(streamed)?.tool_calls.map((call) => call.function)).toEqual(
      message(whole)?.tool_calls.map((call) => call.function),
    )
    expect(message(streamed)?.tool_calls).toMatchObject([{ type: 'function' }])
  })

  it('of a response ends with the whole response', async () => {
    const { done } = await start(deployments())
    const { onDelta, events } = listening()
    const body = { model: 'auto', input: 'Tell me a story', stream: true }
    const outcome = await done(body, { url: '/v1/responses', onDelta })
    expect(outcome.response?.body).toMatchObject({ object: 'response', status: 'completed' })
    expect(events.length).toBeGreaterThan(3)
    expect(outcome.usage.output_tokens).toBeGreaterThan(0)
  })

  it('fails over before its first output', async () => {
    const { done, run } = await start(deployments())
    await bench.twin.post('faults', { type: 'status', status: 500, resource: 'swedencentral' })
    await bench.twin.post('faults', { type: 'drop', at: 'stream', after_events: 1, resource: 'eastus2', count: 1 })
    const { onDelta, text } = listening()
    const first = await bench.twin.calls()
    const outcome = await run(chat('Tell me a story', { stream: true }), { onDelta })
    expect(first).toEqual([])
    // The first event has no output: the stream that broke after it was nobody's.
    expect(outcome).toMatchObject({ kind: 'later', reason: 'failing' })
    expect(text()).toBe('')
    expect(await done(chat('hi', { stream: true }), listening())).toMatchObject({
      status: 'succeeded',
      decision: { region: 'eastus2' },
    })
  })

  it('that breaks after its first output ends as failed', async () => {
    const { done } = await start(deployments())
    await bench.twin.post('faults', { type: 'drop', at: 'stream', after_events: 8 })
    const { onDelta, text } = listening()
    const outcome = await done(chat('Tell me a long story [tokens=200]', { stream: true }), { onDelta })
    expect(text()).not.toBe('')
    expect(outcome).toMatchObject({
      status: 'failed',
      error: { code: 'model_unavailable' },
      decision: { attempts: [{}] },
    })
  })
})
