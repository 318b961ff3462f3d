import { describe, expect, it } from 'vitest'
import { sessionOf } from './openai-affinity.ts'
import { sluiceOptions } from './openai-options.ts'
import { openAIPath } from './openai-path.ts'

describe('openAIPath', () => {
  it.each([
    ['/v1/chat/completions', '/v1/chat/completions', undefined, false],
    ['/v1/responses?x=1', '/v1/responses', undefined, false],
    ['/openai/v1/embeddings', '/v1/embeddings', undefined, false],
    ['/openai/responses?api-version=2025-03-01-preview', '/v1/responses', undefined, false],
    ['/openai/deployments/gpt-4.1/chat/completions?api-version=2024-10-21', '/v1/chat/completions', 'gpt-4.1', false],
    ['/openai/deployments/a%2Fb/audio/speech', '/v1/audio/speech', 'a/b', false],
    ['/openai-realtime/v1/responses', '/v1/responses', undefined, true],
    ['/openai-realtime/openai/deployments/m/embeddings?api-version=1', '/v1/embeddings', 'm', true],
    ['/openai-realtime/openai/v1/chat/completions', '/v1/chat/completions', undefined, true],
  ])('%s', (target, url, model, affinity) => {
    expect(openAIPath(target)).toEqual({ url, model, affinity })
  })

  it.each([
    '/v1/requests',
    '/v1/chat/completions/x',
    '/v2/chat/completions',
    '/openai/deployments/m/responses/x',
    '/openai/deployments//chat/completions',
    '/openai/deployments/%zz/chat/completions',
    '/openai-realtime/v1/audio/speech',
    '/openai-sticky/v1/chat/completions',
    '/v1/files',
    '',
  ])('%s is somebody else’s', (target) => {
    expect(openAIPath(target)).toBeUndefined()
  })
})

describe('a session', () => {
  const body = (fields: object) => ({ model: 'auto', ...fields })

  it.each([
    [{ 'x-session-id': 'h' }, body({ user: 'u' }), undefined, 'h'],
    [{}, body({ user: 'u' }), undefined, 'u'],
    [{}, body({ conversation: 'c', user: 'u' }), undefined, 'c'],
    [{}, body({ conversation: { id: 'conv_1' } }), undefined, 'conv_1'],
    [{}, body({ session_id: 's' }), undefined, 's'],
    [{}, body({ session_id: 's' }), { conversation: 'o' }, 'o'],
    [{}, body({ user: 7 }), undefined, undefined],
  ])('%j %j %j', (headers, fields, options, session) => {
    expect(sessionOf(headers, fields, options)).toBe(session)
  })
})

describe('sluiceOptions', () => {
  it('is nothing where nothing is said', () => {
    expect(sluiceOptions({ 'x-other': 'y' }, undefined, 't')).toBeUndefined()
  })

  it('reads headers, which go before the body', () => {
    const headers = {
      'x-sluice-tier': 'small..medium',
      'x-sluice-region': 'eastus2, swedencentral',
      'x-sluice-max-cost-usd': '0.02',
      'x-sluice-cache': 'exact',
      'x-sluice-priority': 'bulk',
      'x-sluice-deadline': '2027-01-01T00:00:00Z',
    }
    const field = { region: { prefer: ['westeurope'] }, cache: 'off', conversation: 'c' }
    expect(sluiceOptions(headers, field, 't')).toEqual({
      tier: { min: 'small', max: 'medium' },
      region: { only: ['eastus2', 'swedencentral'], prefer: ['westeurope'] },
      max_cost_usd: 0.02,
      cache: 'exact',
      priority: 'bulk',
      deadline: '2027-01-01T00:00:00Z',
      conversation: 'c',
    })
    expect(sluiceOptions({ 'x-sluice-tier': '..medium' }, undefined, 't')).toEqual({ tier: { max: 'medium' } })
  })

  it.each([
    [{ 'x-sluice-tier': 'huge' }, undefined, 'x-sluice-tier'],
    [{ 'x-sluice-max-cost-usd': 'much' }, undefined, 'x-sluice-max-cost-usd'],
    [{ 'x-sluice-deadline': 'soon' }, undefined, 'x-sluice-deadline'],
    [{ 'x-sluice-deliver': 'webhook' }, undefined, 'x-sluice-deliver'],
    [{}, { deliver: [] }, 'sluice.deliver'],
    [{}, { colour: 'red' }, 'sluice.colour'],
    [{}, 'large', 'sluice'],
    [{}, { region: { only: [] } }, 'sluice.region.only'],
    [{}, { tenant: 'other' }, 'sluice.tenant'],
  ])('%j %j', (headers, field, param) => {
    expect(() => sluiceOptions(headers, field, 't')).toThrow(expect.objectContaining({ param }) as Error)
  })
})
