import type { PlatformConfig } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { EndpointRow } from '@sluice/ledger'
import { expect, test } from 'vitest'
import { fifoKeyOf, webhookCalls } from './webhook-calls.ts'

const config = {
  tenants: { contoso: { webhooks: { secrets: ['whsec_a'], allow_hosts: [] } } },
} as unknown as PlatformConfig
const endpoint = (over: Partial<EndpointRow> = {}) =>
  ({
    id: 'whe_1',
    tenant: 'contoso',
    url: 'https://x/',
    concurrency: 4,
    disabled: null,
    fifo: null,
    ...over,
  }) as EndpointRow

const callOf = (known: EndpointRow | undefined, secretsOf: () => string[] = () => ['whsec_b']) =>
  webhookCalls({
    config,
    directory: { find: async () => known, matching: async () => [], note: () => {} },
    endpoints: { secretsOf },
  })
const target = { type: 'webhook' as const, endpoint: 'whe_1' }

test('an endpoint is called as it is now', async () => {
  expect(await callOf(endpoint())('contoso', target)).toMatchObject({
    url: 'https://x/',
    secrets: ['whsec_b'],
    lane: 'whe_1',
  })
})

test('urls that differ in their query alone share a lane, those of two tenants do not', async () => {
  const lane = async (tenant: string, url: string) => {
    const call = await callOf(undefined)(tenant, { type: 'webhook', url })
    return 'lane' in call ? call.lane : undefined
  }
  expect(await lane('contoso', 'https://x/a?n=1')).toBe(await lane('contoso', 'https://x/a?n=2'))
  expect(await lane('contoso', 'https://x/a')).not.toBe(await lane('contoso', 'https://x/b'))
  expect(await lane('contoso', 'https://x/a')).not.toBe(await lane('fabrikam', 'https://x/a'))
})

test('an endpoint that is gone, disabled, or whose secret does not open gets nothing, for a reason', async () => {
  const disabled = { reason: 'gone' as const, at: '', detail: '' }
  expect(await callOf(undefined)('contoso', target)).toEqual({ reason: 'endpoint_deleted' })
  expect(await callOf(endpoint({ disabled }))('contoso', target)).toEqual({ reason: 'endpoint_disabled: gone' })
  const sealed = () => {
    throw new AppError('not_configured', 'no key')
  }
  expect(await callOf(endpoint(), sealed)('contoso', target)).toEqual({ reason: 'no key' })
})

test.each([
  [null, 'c1', undefined],
  ['endpoint', 'c1', 'whe_1'],
  ['endpoint', undefined, 'whe_1'],
  ['conversation', 'c1', 'whe_1 c1'],
  ['conversation', undefined, undefined],
] as const)('fifo %s, conversation %s: %s', (fifo, conversation, key) => {
  expect(fifoKeyOf(endpoint({ fifo }), conversation)).toBe(key)
})
