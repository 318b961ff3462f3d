import { expect, test } from 'vitest'
import { parseConfig } from './config.ts'
import { defaultConfig } from './default-config.ts'

const one = (deployment: object, resource: object = {}) => ({
  resources: [{ name: 'r', deployments: [{ name: 'd', model: 'm', ...deployment }], ...resource }],
})

test('the built-in configuration is valid and every field has a default', () => {
  expect(parseConfig(defaultConfig).resources).toHaveLength(3)
  const [resource] = parseConfig(one({})).resources
  expect(resource).toMatchObject({ name: 'r', region: 'r', keys: ['twin-key-r'] })
  expect(resource?.deployments[0]).toMatchObject({
    kind: 'standard',
    ability: 0.9,
    token_window: 'fixed',
    latency: { first_token_ms: 0 },
  })
})

test('parts of latency and batch settings keep the other defaults', () => {
  const [resource] = parseConfig(one({ latency: { per_token_ms: 5 }, batch: { max_lines: 10 } })).resources
  expect(resource?.deployments[0]?.latency).toEqual({ first_token_ms: 0, per_token_ms: 5, jitter: 0 })
  expect(resource?.deployments[0]?.batch).toMatchObject({ max_lines: 10, validate_ms: 1_000 })
})

test.each<[unknown, string]>([
  [undefined, 'resources: must be a list with at least one resource'],
  [{ resources: [] }, 'resources: must be a list with at least one resource'],
  [{ resources: [1] }, 'resources[0]: must be an object'],
  [
    { resources: [{ name: 'a b', deployments: [] }] },
    'resources[0].name: must be 1 to 64 letters, digits, dots, dashes or underscores',
  ],
  [one({}, { keys: [] }), 'resources[0].keys: must be a list of non-empty strings'],
  [one({}, { max_file_bytes: 0 }), 'resources[0].max_file_bytes: must be positive'],
  [one({}, { deployments: {} }), 'resources[0].deployments: must be a list'],
  [
    one({ model: undefined }),
    'resources[0].deployments[0].model: must be 1 to 64 letters, digits, dots, dashes or underscores',
  ],
  [one({ kind: 'magic' }), 'resources[0].deployments[0].kind: must be one of standard, ptu, batch, spot, model-router'],
  [one({ kind: 'ptu' }), 'resources[0].deployments[0].ptu_tokens_per_minute: a ptu deployment needs its capacity'],
  [one({ tokens_per_minute: '9' }), 'resources[0].deployments[0].tokens_per_minute: must be positive'],
  [one({ capabilities: ['fly'] }), 'resources[0].deployments[0].capabilities: unknown capability fly'],
  [
    one({ latency: { first: 1 } }),
    'resources[0].deployments[0].latency.first: unknown, expected one of first_token_ms, per_token_ms, jitter',
  ],
  [one({ latency: { jitter: -1 } }), 'resources[0].deployments[0].latency.jitter: must be a number, 0 or more'],
  [one({ tpm: 1 }), 'resources[0].deployments[0].tpm: unknown field'],
  [
    {
      resources: [
        {
          name: 'r',
          deployments: [
            { name: 'd', model: 'm' },
            { name: 'd', model: 'm' },
          ],
        },
      ],
    },
    'resources[0].deployments: two deployments are called d',
  ],
])('%j is refused with the path of what is wrong', (config, message) => {
  expect(() => parseConfig(config)).toThrow(new TypeError(message))
})
