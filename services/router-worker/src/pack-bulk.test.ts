import { platformConfigSchema, type SluiceOptions } from '@sluice/contracts'
import { expect, test } from 'vitest'
import { shouldPack } from './pack-bulk.ts'

const nowMs = Date.UTC(2026, 0, 1)
const hours = (count: number) => new Date(nowMs + count * 3_600_000).toISOString()
const deployment = (name: string, over: object = {}) => ({
  ...{ name, model: 'gpt-4.1-mini', tier: 'medium', region: 'swedencentral', endpoint: 'http://127.0.0.1:1/v1' },
  ...{ api_key: 'k', quota: { tokens_per_minute: 1, requests_per_minute: 1 }, price: { input: 1, output: 1 }, ...over },
})
const config = (over: object = {}) =>
  platformConfigSchema.parse({
    version: 1,
    routing: { thresholds: { medium: 0.2, large: 0.5 }, aliases: { cheap: 'gpt-4.1-mini' } },
    deployments: [
      deployment('mini', { batch: { enqueued_tokens: 1_000 } }),
      deployment('large', { model: 'gpt-4.1', tier: 'large' }),
    ],
    lanes: {},
    batches: { tenants: '*' },
    ...over,
  })

type Body = Parameters<typeof shouldPack>[1]
const pack = (sluice: SluiceOptions, body: Body = { model: 'auto' }, on = config()) =>
  shouldPack({ url: '/v1/chat/completions', sluice }, body, on, nowMs)

test('bulk work with time to spare waits for a batch', () => {
  expect(pack({ priority: 'bulk', deadline: hours(6) })).toBe(true)
  for (const model of ['gpt-4.1-mini', 'medium', 'mini', 'cheap']) {
    expect(pack({ priority: 'bulk', deadline: hours(6) }, { model }), model).toBe(true)
  }
})

test.each<[string, SluiceOptions]>([
  ['is not bulk', { priority: 'standard', deadline: hours(6) }],
  ['has no deadline', { priority: 'bulk' }],
  ['has too little time', { priority: 'bulk', deadline: hours(2) }],
  ['belongs to a conversation', { priority: 'bulk', deadline: hours(6), conversation: 'c' }],
  ['may be in the cache', { priority: 'bulk', deadline: hours(6), cache: 'exact' }],
  ['must stay in a region without batches', { priority: 'bulk', deadline: hours(6), region: { only: ['eastus2'] } }],
])('a request that %s runs at once', (_, sluice) => {
  expect(pack(sluice)).toBe(false)
})

test('so does one whose model takes no batches, that streams, or that the configuration does not want packed', () => {
  const bulk: SluiceOptions = { priority: 'bulk', deadline: hours(6) }
  expect(pack(bulk, { model: 'gpt-4.1' })).toBe(false)
  expect(pack(bulk, { model: 'auto', stream: true })).toBe(false)
  expect(pack(bulk, { model: 'auto', previous_response_id: 'resp_1' })).toBe(false)
  expect(pack(bulk, { model: 'auto' }, config({ batch: { packer: { enabled: false } } }))).toBe(false)
})
