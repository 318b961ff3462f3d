import { platformConfigSchema, routingConfigSchema } from '@sluice/contracts'
import { describe, expect, it } from 'vitest'
import { cascadeSteps } from './cascade-steps.ts'

const deployments = platformConfigSchema.shape.deployments.parse(
  ['small', 'medium', 'large'].map((tier) => ({
    name: tier,
    tier,
    model: tier,
    region: 'north',
    endpoint: 'https://example.test/openai/v1',
    api_key: 'key',
    quota: { tokens_per_minute: 1000, requests_per_minute: 60 },
    price: { input: 1, output: 2 },
  })),
)
const tier = (name: string) => deployments.filter((one) => one.tier === name)
const routeTo = (scored: 'small' | 'medium' | 'large', score: number | null = 0.3) => ({
  score,
  why: '',
  tier: scored,
  model: scored,
  candidates: tier(scored),
  fallbacks: deployments.filter((one) => one.tier !== scored),
  maySpill: true,
  outputCaps: new Map<string, number>(),
})
const { cascade } = routingConfigSchema.parse({ thresholds: { medium: 0.2, large: 0.5 }, cascade: { enabled: true } })
const steps = (route: ReturnType<typeof routeTo>, more: object = {}) =>
  cascadeSteps({ route, cascade, slackMs: 60_000, ...more })?.map((step) => step.map(({ name }) => name).join())

describe('a cascade', () => {
  it('begins below the scored tier and ends at the highest that is allowed', () => {
    expect(steps(routeTo('medium'))).toEqual(['small', 'medium', 'large'])
    expect(steps(routeTo('large'))).toEqual(['medium', 'large'])
    expect(steps(routeTo('small'))).toEqual(['small', 'medium', 'large'])
    const capped = { ...routeTo('small'), fallbacks: tier('medium') }
    expect(steps(capped)).toEqual(['small', 'medium'])
  })

  it('keeps priorities that may not spill to provisioned capacity, where a tier has some', () => {
    const ptu = tier('small').map((one) => ({ ...one, name: 'ptu', kind: 'ptu' as const }))
    const route = { ...routeTo('medium'), fallbacks: [...tier('small'), ...ptu, ...tier('large')] }
    expect(steps(route)).toEqual(['small,ptu', 'medium', 'large'])
    expect(steps({ ...route, maySpill: false })).toEqual(['ptu', 'medium', 'large'])
  })

  it.each([
    ['a named model', routeTo('medium', null), {}],
    ['a score below the band', routeTo('small', 0.05), {}],
    ['a score above the band', routeTo('large', 0.8), {}],
    ['no time', routeTo('medium'), { slackMs: 4_999 }],
    ['a tenant that does not want it', routeTo('medium'), { enabled: false }],
    ['a single tier', { ...routeTo('large'), fallbacks: [] }, {}],
  ])('is not for %s', (_name, route, more) => expect(steps(route, more)).toBeUndefined())

  it('is for a tenant that wants it where others do not have it', () => {
    const off = { ...cascade, enabled: false }
    expect(steps(routeTo('medium'), { cascade: off })).toBeUndefined()
    expect(steps(routeTo('medium'), { cascade: off, enabled: true })).toHaveLength(3)
  })
})
