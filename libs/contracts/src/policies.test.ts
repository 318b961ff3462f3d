import { AppError } from '@sluice/errors'
import { expect, test } from 'vitest'
import { checkDeliverTargets } from './delivery-policy.ts'
import { tenantOnLane } from './lane-policy.ts'
import { type PlatformConfig, platformConfigSchema } from './platform-config.ts'

const input = {
  version: 1,
  routing: { thresholds: { medium: 0.4, large: 0.7 } },
  deployments: [
    {
      name: 'a',
      model: 'm',
      region: 'r',
      endpoint: 'https://a',
      api_key: 'k',
      quota: { tokens_per_minute: 1, requests_per_minute: 1 },
      price: { input: 1, output: 1 },
    },
  ],
  lanes: { 'requests-standard': { priority: 'standard', tenants: ['contoso'], share: 1 } },
  batches: { tenants: '*' },
  tenants: {
    contoso: {
      webhooks: { secrets: [`whsec_${'a'.repeat(44)}`], allow_hosts: ['127.0.0.1'] },
      reply_queues: ['replies'],
    },
  },
}
const config: PlatformConfig = platformConfigSchema.parse(input)

const paramOf = (run: () => void): string | undefined => {
  try {
    run()
    return undefined
  } catch (error) {
    return (error as AppError).param
  }
}

test('a webhook needs a secret, and https outside the allow-list', () => {
  const check = (tenant: string, url: string) =>
    paramOf(() => checkDeliverTargets(config, tenant, [{ type: 'webhook', url }]))
  expect(check('contoso', 'https://example.com')).toBeUndefined()
  expect(check('contoso', 'http://127.0.0.1:9/x')).toBeUndefined()
  expect(check('contoso', 'http://example.com')).toBe('sluice.deliver[0].url')
  expect(check('contoso', 'https://user:pass@example.com')).toBe('sluice.deliver[0].url')
  expect(check('fabrikam', 'https://example.com')).toBe('sluice.deliver[0].type')
})

test('a reply queue must be on the list of the tenant', () => {
  const check = (tenant: string, queue: string) =>
    paramOf(() => checkDeliverTargets(config, tenant, [{ type: 'event-hubs' }, { type: 'service-bus', queue }]))
  expect(check('contoso', 'replies')).toBeUndefined()
  expect(check('contoso', 'requests-standard')).toBe('sluice.deliver[1].queue')
  expect(check('fabrikam', 'replies')).toBe('sluice.deliver[1].queue')
})

test('a lane decides whom it serves', () => {
  const lane = { tenants: ['contoso'] }
  expect(tenantOnLane('l', lane, 'contoso')).toBe('contoso')
  expect(() => tenantOnLane('l', lane, 'fabrikam')).toThrow(AppError)
  expect(() => tenantOnLane('l', lane, undefined)).toThrow(AppError)
  expect(tenantOnLane('l', { ...lane, default_tenant: 'contoso' }, undefined)).toBe('contoso')
  expect(() => tenantOnLane('l', { tenants: '*' }, 'a|b')).toThrow(AppError)
})

test('a configuration that contradicts itself is refused with the place', () => {
  const problems = (change: object) =>
    platformConfigSchema.safeParse({ ...input, ...change }).error?.issues.map(({ path }) => path.join('.'))
  expect(problems({ routing: { thresholds: { medium: 0.8, large: 0.7 } } })).toEqual(['routing.thresholds.medium'])
  expect(problems({ deployments: [...input.deployments, ...input.deployments] })).toEqual(['deployments.1.name'])
  expect(problems({ tenants: { contoso: { reply_queues: ['requests-standard'] } } })).toEqual([
    'tenants.contoso.reply_queues',
  ])
})
