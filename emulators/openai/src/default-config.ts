import type { DeploymentInput, TwinConfigInput } from './config.ts'

const latency = { first_token_ms: 40, per_token_ms: 2, jitter: 0.2 }

const region = (suffix: string): DeploymentInput[] => [
  {
    name: `gpt-large-${suffix}`,
    model: 'gpt-4.1',
    model_version: '2025-04-14',
    ability: 0.95,
    tokens_per_minute: 200_000,
    requests_per_minute: 1_200,
    latency,
  },
  {
    name: `gpt-mini-${suffix}`,
    model: 'gpt-4.1-mini',
    model_version: '2025-04-14',
    ability: 0.8,
    tokens_per_minute: 500_000,
    requests_per_minute: 3_000,
    latency,
  },
  {
    name: `gpt-large-batch-${suffix}`,
    model: 'gpt-4.1',
    model_version: '2025-04-14',
    kind: 'batch',
    ability: 0.95,
    enqueued_tokens: 50_000_000,
  },
  {
    name: `gpt-mini-batch-${suffix}`,
    model: 'gpt-4.1-mini',
    model_version: '2025-04-14',
    kind: 'batch',
    ability: 0.8,
    enqueued_tokens: 50_000_000,
  },
  {
    name: 'text-embedding-3-small',
    model: 'text-embedding-3-small',
    tokens_per_minute: 1_000_000,
    context_tokens: 8_192,
  },
  { name: 'gpt-realtime', model: 'gpt-realtime', tokens_per_minute: 500_000, latency },
  { name: 'gpt-realtime-mini', model: 'gpt-realtime-mini', ability: 0.8, tokens_per_minute: 500_000, latency },
  { name: 'whisper-1', model: 'whisper', requests_per_minute: 60 },
  { name: 'tts-1', model: 'tts', requests_per_minute: 60, latency },
]

/** What runs when no configuration file is named: three regions, every kind of deployment. */
export const defaultConfig: TwinConfigInput = {
  resources: [
    {
      name: 'swedencentral',
      region: 'Sweden Central',
      deployments: [
        ...region('sdc'),
        {
          name: 'gpt-large-ptu',
          model: 'gpt-4.1',
          model_version: '2025-04-14',
          kind: 'ptu',
          ability: 0.95,
          ptu_tokens_per_minute: 150_000,
          latency,
        },
        {
          name: 'phi-spot',
          model: 'Phi-4-mini-instruct',
          kind: 'spot',
          ability: 0.6,
          context_tokens: 16_384,
          capabilities: ['tools', 'logprobs'],
          latency,
        },
      ],
    },
    {
      name: 'eastus2',
      region: 'East US 2',
      deployments: [
        ...region('eus2'),
        {
          name: 'model-router',
          model: 'model-router',
          kind: 'model-router',
          tokens_per_minute: 200_000,
          requests_per_minute: 1_200,
          latency,
        },
      ],
    },
    { name: 'westeurope', region: 'West Europe', deployments: region('weu') },
  ],
}
