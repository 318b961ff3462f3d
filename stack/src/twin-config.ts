import type { Deployment, PlatformConfig } from '@sluice/contracts'

// How often a tier's model answers rightly, for the twin's controlled share of wrong answers.
const ability = { small: 0.55, medium: 0.8, large: 0.97 } as const

/**
 * The twin's resources and deployments, made from the platform's own configuration so that quotas, regions and names
 * agree. A deployment belongs to the resource that its endpoint names (`…/r/<resource>/openai/v1`).
 */
export function twinConfig(platform: PlatformConfig, apiKey: string): object {
  const resources = new Map<string, { name: string; region: string; keys: string[]; deployments: object[] }>()
  for (const deployment of platform.deployments) {
    const name = /\/r\/([^/]+)\//.exec(deployment.endpoint)?.[1]
    if (name === undefined) continue
    const resource = resources.get(name) ?? { name, region: deployment.region, keys: [apiKey], deployments: [] }
    resource.deployments.push(twinDeployment(deployment), ...batchDeployments(deployment))
    resources.set(name, resource)
  }
  return { resources: [...resources.values()] }
}

const twinDeployment = (deployment: Deployment) => ({
  name: deployment.azure_name ?? deployment.name,
  model: deployment.model,
  kind: deployment.kind,
  tokens_per_minute: deployment.quota.tokens_per_minute,
  ...(deployment.kind === 'ptu' ? { ptu_tokens_per_minute: deployment.quota.tokens_per_minute } : {}),
  requests_per_minute: deployment.quota.requests_per_minute,
  ability: deployment.tier === undefined ? 1 : ability[deployment.tier],
  context_tokens: deployment.context_tokens,
  capabilities: ['tools', 'json_schema', 'logprobs', 'vision'],
})

/** A deployment for Batch jobs stands beside the online one. */
function batchDeployments({ batch, model, tier }: Deployment): object[] {
  if (batch?.azure_name === undefined) return []
  return [
    {
      name: batch.azure_name,
      model,
      kind: 'batch',
      ability: tier === undefined ? 1 : ability[tier],
      enqueued_tokens: batch.enqueued_tokens,
    },
  ]
}

/**
 * The platform configuration with every deployment pointing at one real Azure OpenAI endpoint.
 * @param url `https://<resource>.openai.azure.com/openai/v1`, or a deployment's full URL, whose name is then used.
 */
export function withRealEndpoint(platform: PlatformConfig, url: string, apiKey: string): PlatformConfig {
  const parsed = new URL(url)
  const named = /\/openai\/deployments\/([^/]+)/.exec(parsed.pathname)?.[1]
  const endpoint = `${parsed.origin}/openai/v1`
  return {
    ...platform,
    deployments: platform.deployments.map((deployment) => ({
      ...deployment,
      endpoint,
      api_key: apiKey,
      azure_name: named ?? deployment.azure_name ?? deployment.name,
    })),
  }
}
