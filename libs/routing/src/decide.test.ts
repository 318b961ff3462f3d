import { platformConfigSchema, type RequestBody, type SluiceOptions, routingConfigSchema } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { describe, expect, it } from 'vitest'
import { decide } from './decide.ts'

const deployment = (name: string, more: object = {}) => ({
  name,
  model: name.replace(/-(?:sdc|eus|ptu)$/, ''),
  region: name.endsWith('-eus') ? 'eastus2' : 'swedencentral',
  endpoint: 'https://example.test/openai/v1',
  api_key: 'key',
  quota: { tokens_per_minute: 1000, requests_per_minute: 60 },
  price: { input: 1, output: 2 },
  ...more,
})

const config = {
  routing: routingConfigSchema.parse({ thresholds: { medium: 0.2, large: 0.5 } }),
  deployments: platformConfigSchema.shape.deployments.parse([
    deployment('nano-sdc', { tier: 'small', context_tokens: 16_000 }),
    deployment('mini-sdc', { tier: 'medium' }),
    deployment('mini-eus', { tier: 'medium' }),
    deployment('mini-ptu', { tier: 'medium', kind: 'ptu' }),
    deployment('big-eus', { tier: 'large', urls: ['/v1/chat/completions'] }),
    deployment('big-spot', { tier: 'large', kind: 'spot', model: 'big' }),
    deployment('embed', { urls: ['/v1/embeddings'] }),
  ]),
}

const easy = 'Good morning'
const middling = 'Write a SQL query that returns, per customer, the month with the highest revenue, and explain it.'
const hard = `Derive the closed form of the sum of k^2 * 2^k, prove it by induction, analyse its growth and implement a check:
\`\`\`py\ndef f(n):\n\`\`\` Justify each step.`

const route = (content: string, options?: SluiceOptions, body: Partial<RequestBody> = {}) =>
  decide({
    url: '/v1/chat/completions',
    body: { model: 'auto', messages: [{ role: 'user', content }], ...body },
    options,
    config,
  })
const namesOf = (deployments: readonly { name: string }[]) => deployments.map(({ name }) => name)

function refusal(run: () => unknown): { code: string; param: string | undefined } {
  try {
    run()
  } catch (error) {
    if (error instanceof AppError) return { code: error.code, param: error.param }
    throw error
  }
  throw new Error('nothing was refused')
}

describe('auto', () => {
  it('maps the score to a tier by the thresholds', () => {
    expect(route(easy)).toMatchObject({ tier: 'small', model: 'nano' })
    expect(route(middling)).toMatchObject({ tier: 'medium', model: 'mini' })
    expect(route(hard)).toMatchObject({ tier: 'large', model: 'big' })
    expect(route(hard).why).toContain('reasoning')
  })

  it('orders provisioned first, spot last, and keeps other tiers as fallbacks, higher ones first', () => {
    const medium = route(middling)
    expect(namesOf(medium.candidates)).toEqual(['mini-ptu', 'mini-sdc', 'mini-eus'])
    expect(namesOf(medium.fallbacks)).toEqual(['big-eus', 'big-spot', 'nano-sdc'])
    expect(namesOf(route(hard).candidates)).toEqual(['big-eus', 'big-spot'])
  })

  it('puts preferred regions first among equals', () => {
    expect(namesOf(route(middling, { region: { prefer: ['eastus2'] } }).candidates)).toEqual([
      'mini-ptu',
      'mini-eus',
      'mini-sdc',
    ])
  })

  it('never leaves region.only, not even in fallbacks, and says which tier stood in', () => {
    const found = route(easy, { region: { only: ['eastus2'] } })
    expect(namesOf(found.candidates)).toEqual(['mini-eus'])
    expect(namesOf(found.fallbacks)).toEqual(['big-eus'])
    expect(found.why).toContain('small is not available here, medium is')
  })

  it('keeps to the tiers that the caller allows', () => {
    expect(route(easy, { tier: { min: 'large' } })).toMatchObject({ tier: 'large' })
    const cheap = route(hard, { tier: { max: 'small' } })
    expect(cheap).toMatchObject({ tier: 'small', fallbacks: [] })
  })

  it('leaves out deployments whose context is too small for the prompt', () => {
    const long = 'word '.repeat(16_000)
    const found = route(long)
    expect(found.tier).not.toBe('small')
    expect(namesOf([...found.candidates, ...found.fallbacks])).not.toContain('nano-sdc')
    expect(route(easy, {}, { max_completion_tokens: 20_000 }).tier).toBe('medium')
  })

  it('tries the largest context when the prompt looks too long for all: the provider counts better', () => {
    const found = route('word '.repeat(200_000))
    expect(namesOf([...found.candidates, ...found.fallbacks])).toHaveLength(5)
  })

  it('takes what serves the endpoint where tiers mean nothing', () => {
    const found = decide({ url: '/v1/embeddings', body: { model: 'auto', input: 'x' }, config })
    expect(found).toMatchObject({ score: null, tier: null, model: 'embed' })
  })
})

describe('a named model', () => {
  it.each([
    ['a tier', 'medium', ['mini-ptu', 'mini-sdc', 'mini-eus']],
    ['a model', 'mini', ['mini-ptu', 'mini-sdc', 'mini-eus']],
    ['a deployment', 'mini-eus', ['mini-eus']],
  ])('is %s, without a score and without fallbacks', (_kind, model, names) => {
    const found = route(hard, {}, { model })
    expect(namesOf(found.candidates)).toEqual(names)
    expect(found).toMatchObject({ score: null, fallbacks: [], why: `${model} as asked` })
  })

  it('is refused when nobody has it', () => {
    expect(refusal(() => route(easy, {}, { model: 'gpt-99' }))).toEqual({
      code: 'model_not_found',
      param: 'body.model',
    })
  })
})

describe('no route', () => {
  it.each<[string, SluiceOptions, Partial<RequestBody>, string]>([
    ['a region without deployments', { region: { only: ['westus'] } }, {}, 'sluice.region.only'],
    ['a region without that model', { region: { only: ['eastus2'] } }, { model: 'nano' }, 'sluice.region.only'],
    ['min above max', { tier: { min: 'large', max: 'small' } }, {}, 'sluice.tier'],
    ['a model outside the tiers', { tier: { max: 'small' } }, { model: 'mini' }, 'sluice.tier'],
    ['an endpoint that the model does not serve', {}, { model: 'embed' }, 'body.model'],
  ])('names the hint that left nothing: %s', (_name, options, body, param) => {
    expect(refusal(() => route(easy, options, body))).toEqual({ code: 'no_route', param })
  })

  it('distinguishes a tier without deployments from an unknown model', () => {
    const small = { ...config, deployments: config.deployments.filter((one) => one.tier !== 'large') }
    const body = { model: 'large', messages: [{ role: 'user', content: 'x' }] }
    expect(refusal(() => decide({ url: '/v1/chat/completions', body, config: small }))).toEqual({
      code: 'no_route',
      param: 'body.model',
    })
  })
})

describe('an alias', () => {
  const pooled = {
    ...config,
    routing: routingConfigSchema.parse({
      thresholds: config.routing.thresholds,
      aliases: { 'gpt-4o': 'big', pool: ['mini', 'nano-sdc'], toString: 'nano' },
    }),
  }
  const of = (model: string, options?: SluiceOptions) =>
    decide({ url: '/v1/chat/completions', body: { model, messages: [] }, options, config: pooled })

  it('stands for a model, or for a pool of models and deployments', () => {
    expect(of('gpt-4o')).toMatchObject({ model: 'big', score: null })
    expect(namesOf(of('pool').candidates)).toEqual(['mini-ptu', 'nano-sdc', 'mini-sdc', 'mini-eus'])
    expect(namesOf(of('pool', { region: { only: ['eastus2'] } }).candidates)).toEqual(['mini-eus'])
    expect(of('toString').model).toBe('nano')
    expect(refusal(() => of('valueOf'))).toEqual({ code: 'model_not_found', param: 'body.model' })
  })
})

describe('a tenant', () => {
  it('may have thresholds of its own', () => {
    const tenants = platformConfigSchema.shape.tenants.parse({ careful: { thresholds: { medium: 0, large: 0.01 } } })
    const tierFor = (tenant: string) =>
      decide({
        url: '/v1/chat/completions',
        body: { model: 'auto', messages: [{ role: 'user', content: middling }] },
        config: { ...config, tenants },
        tenant,
      }).tier
    expect(tierFor('careful')).toBe('large')
    expect(tierFor('anybody')).toBe('medium')
    expect(tierFor('constructor')).toBe('medium')
  })
})

describe('capabilities', () => {
  const plain = config.deployments.map((one) => ({
    ...one,
    capabilities: one.tier === 'large' ? one.capabilities : [],
  }))
  const image = [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:' } }] }]
  const tool = { type: 'function', function: { name: 'f' } }
  const needing = (body: object, deployments = plain) =>
    decide({
      url: '/v1/chat/completions',
      body: { model: 'auto', messages: [{ role: 'user', content: easy }], ...body },
      config: { ...config, deployments },
    })

  it.each([
    ['vision', { messages: image }, 'body.messages'],
    ['tools', { tools: [tool] }, 'body.tools'],
    ['json_schema', { response_format: { type: 'json_schema', json_schema: {} } }, 'body.response_format'],
    ['logprobs', { logprobs: true }, 'body.logprobs'],
  ])('%s is looked for, and named when nobody has it', (capability, body, param) => {
    expect(needing(body).tier).toBe('large')
    const nobody = plain.map((one) => ({ ...one, capabilities: [] }))
    expect(refusal(() => needing(body, nobody))).toEqual({ code: 'no_route', param })
    expect(() => needing(body, nobody)).toThrow(capability)
  })

  it('of audio are asked of those who have them', () => {
    expect(refusal(() => needing({ modalities: ['text', 'audio'] }))).toEqual({
      code: 'no_route',
      param: 'body.modalities',
    })
  })
})

describe('max_cost_usd', () => {
  const priced = config.deployments.map((one) => ({
    ...one,
    price: one.tier === 'large' ? { input: 10, output: 30 } : { input: 0.1, output: 0.4 },
  }))
  const limited = (max_cost_usd: number, body: object = {}) =>
    decide({
      url: '/v1/chat/completions',
      body: { model: 'auto', messages: [{ role: 'user', content: hard }], ...body },
      options: { max_cost_usd },
      config: { ...config, deployments: priced },
    })

  it('keeps the scored tier while it pays for it, and limits the answer to that', () => {
    expect(limited(10)).toMatchObject({ tier: 'large', outputCaps: new Map() })
    const { tier, outputCaps } = limited(0.03)
    expect(tier).toBe('large')
    expect(outputCaps.get('big-eus')).toBeGreaterThan(700)
    expect(outputCaps.get('big-eus')).toBeLessThan(1_000)
  })

  it('moves to a cheaper tier, and names the hint when nothing is cheap enough', () => {
    expect(limited(0.001).tier).toBe('medium')
    expect(limited(0.001, { max_tokens: 1_000 }).outputCaps.size).toBe(0)
    expect(refusal(() => limited(0.000_01))).toEqual({ code: 'cost_limit', param: 'sluice.max_cost_usd' })
    expect(refusal(() => limited(0.001, { max_tokens: 100_000 }))).toEqual({
      code: 'cost_limit',
      param: 'sluice.max_cost_usd',
    })
  })
})

describe('spilling', () => {
  const strict = {
    ...config,
    routing: routingConfigSchema.parse({ thresholds: config.routing.thresholds, spill: ['interactive'] }),
  }
  const as = (priority: 'interactive' | 'bulk' | undefined, model: string) =>
    decide({ url: '/v1/chat/completions', body: { model, messages: [] }, config: strict, priority })

  it('leaves provisioned capacity by failure only, for priorities that may not', () => {
    expect(namesOf(as('bulk', 'mini').candidates)).toEqual(['mini-ptu'])
    expect(namesOf(as('bulk', 'mini').fallbacks)).toEqual(['mini-sdc', 'mini-eus'])
    expect(namesOf(as('interactive', 'mini').candidates)).toEqual(['mini-ptu', 'mini-sdc', 'mini-eus'])
    expect(namesOf(as(undefined, 'mini').candidates)).toEqual(['mini-ptu'])
    expect(namesOf(as('bulk', 'nano').candidates)).toEqual(['nano-sdc'])
  })
})
