import { platformConfigSchema } from '@sluice/contracts'
import { describe, expect, it } from 'vitest'
import { inOrder } from './order.ts'

const deployment = (name: string, region: string, more: object = {}) => ({
  name,
  model: 'm',
  region,
  endpoint: 'https://example.test/openai/v1',
  api_key: 'key',
  quota: { tokens_per_minute: 1000, requests_per_minute: 60 },
  price: { input: 1, output: 2 },
  ...more,
})
const [a, b, c, ptu, spot] = platformConfigSchema.shape.deployments.parse([
  deployment('a', 'north'),
  deployment('b', 'south', { weight: 3 }),
  deployment('c', 'west'),
  deployment('ptu', 'west', { kind: 'ptu' }),
  deployment('spot', 'north', { kind: 'spot' }),
])
const all = [spot, a, b, c, ptu].filter((one) => one !== undefined)
const three = [a, b, c].filter((one) => one !== undefined)
const names = (some: readonly { name: string }[]) => some.map(({ name }) => name).join(' ')

describe('the order', () => {
  it('is by kind before anything else, and as configured among equals', () => {
    expect(names(inOrder(all, 'least_utilised'))).toBe('ptu a b c spot')
    expect(names(inOrder(all, 'least_utilised', ['south', 'north']))).toBe('ptu b a c spot')
  })

  it('puts the conversation’s region before the caller’s preference', () => {
    expect(names(inOrder(three, 'least_utilised', ['south'], { affinity: ['west', 'north'] }))).toBe('c a b')
  })

  it('leads a conversation home when nothing else is known of it or asked for', () => {
    const home = ['west', 'south', 'north']
    expect(names(inOrder(three, 'least_utilised', [], { home }))).toBe('c b a')
    expect(names(inOrder(three, 'least_utilised', ['south'], { home }))).toBe('b c a')
    expect(names(inOrder(three, 'least_utilised', [], { home, affinity: ['north'] }))).toBe('a c b')
  })

  it('is by utilisation within equals, never across kinds or regions', () => {
    const utilisation = new Map(Object.entries({ a: 0.9, b: 0.2, c: 0.5, ptu: 1 }))
    expect(names(inOrder(all, 'least_utilised', [], { utilisation }))).toBe('ptu b c a spot')
    expect(names(inOrder(all, 'least_utilised', ['north'], { utilisation }))).toBe('ptu a b c spot')
  })

  it('takes turns', () => {
    const orders = [0, 1, 2, 3].map((turn) => names(inOrder(three, 'round_robin', [], { turn })))
    expect(orders).toEqual(['a b c', 'b c a', 'c a b', 'a b c'])
  })

  it('draws by weight', () => {
    let state = 1
    const random = () => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647
    const firsts = Array.from({ length: 5_000 }, () => inOrder(three, 'weighted', [], { random })[0]?.name)
    const share = (name: string) => firsts.filter((first) => first === name).length / firsts.length
    expect(share('b')).toBeCloseTo(0.6, 1)
    expect(share('a')).toBeCloseTo(0.2, 1)
    expect(new Set(firsts)).toEqual(new Set(['a', 'b', 'c']))
  })

  it('loses and doubles nothing', () => {
    for (const balancing of ['least_utilised', 'weighted', 'round_robin'] as const) {
      const ordered = inOrder(all, balancing, ['south'], { turn: 7, affinity: ['west'] })
      expect(ordered.map(({ name }) => name).toSorted()).toEqual(['a', 'b', 'c', 'ptu', 'spot'])
    }
  })
})
