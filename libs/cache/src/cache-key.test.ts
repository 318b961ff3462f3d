import { describe, expect, it } from 'vitest'
import { type CacheAsk, exactKey, semanticAsk } from './cache-key.ts'

const chat = (content: unknown, more: object = {}, ask: Partial<CacheAsk> = {}): CacheAsk => ({
  tenant: 'contoso',
  url: '/v1/chat/completions',
  body: { model: 'auto', messages: [{ role: 'user', content }], ...more },
  ...ask,
})

describe('exactKey', () => {
  it('is the same whatever order the fields came in, and however the answer travels', () => {
    const reordered = { messages: [{ content: 'Hi', role: 'user' }], model: 'auto' }
    expect(exactKey({ ...chat('Hi'), body: reordered })).toBe(exactKey(chat('Hi')))
    expect(exactKey(chat('Hi', { stream: true, stream_options: { include_usage: true }, user: 'u' }))).toBe(
      exactKey(chat('Hi')),
    )
  })

  it.each([
    ['another tenant', chat('Hi', {}, { tenant: 'fabrikam' })],
    ['another prompt', chat('Ho')],
    ['another parameter', chat('Hi', { temperature: 1 })],
    ['an unknown field', chat('Hi', { verbosity: 'low' })],
    ['another residency', chat('Hi', {}, { options: { region: { only: ['swedencentral'] } } })],
    ['another tier', chat('Hi', {}, { options: { tier: { min: 'large' } } })],
    ['another endpoint', chat('Hi', {}, { url: '/v1/responses' })],
  ])('differs for %s', (_, ask) => {
    expect(exactKey(ask)).not.toBe(exactKey(chat('Hi')))
  })

  it('does not depend on the order of the regions', () => {
    const only = (...regions: string[]) => exactKey(chat('Hi', {}, { options: { region: { only: regions } } }))
    expect(only('a', 'b')).toBe(only('b', 'a'))
  })
})

describe('semanticAsk', () => {
  it('sets the last message apart from everything else', () => {
    const one = semanticAsk(chat('What is the capital of France?', { temperature: 0 }))
    const other = semanticAsk(chat('Name the capital of France.', { temperature: 0 }))
    expect(one?.text).toBe('What is the capital of France?')
    expect(other?.group).toBe(one?.group)
    expect(semanticAsk(chat('Name it.', { temperature: 1 }))?.group).not.toBe(one?.group)
  })

  it('keeps tenants, systems and earlier turns apart', () => {
    const group = (before: object[], tenant = 'contoso') =>
      semanticAsk(chat('', { messages: [...before, { role: 'user', content: 'Go on.' }] }, { tenant }))?.group
    const plain = group([])
    expect(group([{ role: 'system', content: 'Answer in French.' }])).not.toBe(plain)
    expect(group([{ role: 'user', content: 'Earlier' }])).not.toBe(plain)
    expect(group([], 'fabrikam')).not.toBe(plain)
  })

  it('reads the input of a response', () => {
    const ask: CacheAsk = { tenant: 't', url: '/v1/responses', body: { model: 'auto', input: 'Hello' } }
    expect(semanticAsk(ask)?.text).toBe('Hello')
  })

  it.each([
    ['an image', chat([{ type: 'image_url', image_url: { url: 'data:' } }])],
    ['an empty prompt', chat('  ')],
    ['a very long prompt', chat('x'.repeat(8_001))],
    ['an answer of a tool', chat('', { messages: [{ role: 'tool', content: '4', tool_call_id: 'c' }] })],
    ['no messages', chat('', { messages: [] })],
    ['an embedding', { tenant: 't', url: '/v1/embeddings', body: { input: 'x' } } satisfies CacheAsk],
  ])('leaves %s alone', (_, ask) => {
    expect(semanticAsk(ask)).toBeUndefined()
  })
})
