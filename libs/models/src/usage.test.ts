import { platformConfigSchema } from '@sluice/contracts'
import { describe, expect, it } from 'vitest'
import { addUsage, costUsd, priceOf, priceOfModel, readUsage } from './usage.ts'

const usage = { input_tokens: 1_000_000, cached_tokens: 400_000, output_tokens: 100_000, reasoning_tokens: 60_000 }

describe('usage', () => {
  it('is read from both endpoints, reasoning included', () => {
    const chat = {
      prompt_tokens: 10,
      completion_tokens: 7,
      prompt_tokens_details: { cached_tokens: 4 },
      completion_tokens_details: { reasoning_tokens: 5 },
    }
    const responses = {
      input_tokens: 10,
      output_tokens: 7,
      input_tokens_details: { cached_tokens: 4 },
      output_tokens_details: { reasoning_tokens: 5 },
    }
    const read = { input_tokens: 10, cached_tokens: 4, output_tokens: 7, reasoning_tokens: 5 }
    expect(readUsage({ usage: chat })).toEqual(read)
    expect(readUsage({ usage: responses })).toEqual(read)
    expect(addUsage(read, read)).toEqual({
      input_tokens: 20,
      cached_tokens: 8,
      output_tokens: 14,
      reasoning_tokens: 10,
    })
  })

  it.each([[null], [{}], [{ usage: 'many' }], [{ usage: { prompt_tokens: -1, completion_tokens: 'x' } }]])(
    'of %j is nothing',
    (body) =>
      expect(readUsage(body)).toEqual({ input_tokens: 0, cached_tokens: 0, output_tokens: 0, reasoning_tokens: 0 }),
  )
})

describe('cost', () => {
  it('prices reasoning as output unless it has its own price', () => {
    expect(costUsd({ input: 2, output: 8 }, usage)).toBeCloseTo(2 + 0.8, 10)
    expect(costUsd({ input: 2, cached: 0.5, output: 8, reasoning: 10 }, usage)).toBeCloseTo(1.2 + 0.2 + 0.32 + 0.6, 10)
  })
})

describe('the price', () => {
  const prices = { 'gpt-4.1': { input: 2, output: 8 }, 'gpt-4.1-mini': { input: 0.4, output: 1.6 } }
  const [router] = platformConfigSchema.shape.deployments.parse([
    {
      name: 'router',
      model: 'model-router',
      kind: 'model-router',
      region: 'north',
      endpoint: 'https://example.test/openai/v1',
      api_key: 'key',
      quota: { tokens_per_minute: 1, requests_per_minute: 1 },
      price: { input: 9, output: 9 },
    },
  ])
  if (router === undefined) throw new Error('no deployment')

  it.each([
    ['gpt-4.1', 2],
    ['gpt-4.1-2025-04-14', 2],
    ['gpt-4.1-mini-2025-04-14', 0.4],
    ['gpt-4.1-nano', 9],
    ['toString', 9],
    [undefined, 9],
  ])('of a model-router that answers with %s', (model, input) => {
    expect(priceOf(router, model, prices).input).toBe(input)
  })

  it('of every other kind is the deployment’s', () => {
    expect(priceOf({ ...router, kind: 'standard' }, 'gpt-4.1', prices).input).toBe(9)
    expect(priceOfModel('gpt-4.1-mini', prices)?.input).toBe(0.4)
  })
})
