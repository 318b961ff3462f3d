import { type Deployment, platformConfigSchema } from '@sluice/contracts'
import { startOpenAITwin, type TwinConfigInput } from '@sluice/emulator-openai'

export interface ModelTwin {
  url: string
  post(path: string, body: object): Promise<void>
  /** What each deployment counted, by resource and name. */
  deployments(): Promise<TwinDeployment[]>
  calls(): Promise<TwinCall[]>
  /** Clears faults, counters, windows and the call log. */
  reset(): Promise<void>
  close(): Promise<void>
}

interface TwinDeployment {
  resource: string
  settings: { name: string }
  calls: number
  refused_calls: number
  in_flight: number
  accepted_estimated_tokens: number
  windows: { startedAt: number; accepted: number; refused: number }[]
}

interface TwinCall {
  deployment: string | null
  resource: string
  status: number
  outcome: string
  estimated_tokens: number
  client_request_id: string | null
  headers: Record<string, string>
  at: number
}

/** The twin with a control client of one's own. */
export async function startModelTwin(options: { config: TwinConfigInput; clock?: () => number }): Promise<ModelTwin> {
  const twin = await startOpenAITwin(options)
  const control = async (method: string, path: string, body?: object): Promise<unknown> => {
    const answer = await fetch(`${twin.url}/_control/${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    })
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
    return answer.json()
  }
  return {
    url: twin.url,
    post: async (path, body) => void (await control('POST', path, body)),
    deployments: async () => ((await control('GET', 'state')) as { deployments: TwinDeployment[] }).deployments,
    calls: async () => ((await control('GET', 'calls?limit=10000')) as { calls: TwinCall[] }).calls,
    reset: async () => void (await control('POST', 'reset', {})),
    close: () => twin.close(),
  }
}

/** A deployment as the platform's configuration describes it, on a resource of the twin. */
export function deploymentOn(
  twin: { url: string },
  name: string,
  fields: { resource?: string; model?: string } & Partial<Omit<Deployment, 'name' | 'model'>> = {},
): Deployment {
  const { resource = 'swedencentral', model = 'gpt-4.1', ...more } = fields
  const [deployment] = platformConfigSchema.shape.deployments.parse([
    {
      name,
      model,
      region: resource,
      endpoint: `${twin.url}/r/${resource}/openai/v1`,
      api_key: `twin-key-${resource}`,
      quota: { tokens_per_minute: 1_000_000, requests_per_minute: 60_000 },
      price: { input: 2, cached: 0.5, output: 8 },
      ...more,
    },
  ])
  if (!deployment) throw new Error('no deployment')
  return deployment
}
