import { startOpenAITwin } from '@sluice/emulator-openai'
import type { OpenAITwin, OpenAITwinOptions, TwinConfigInput } from '@sluice/emulator-openai'
import { AzureOpenAI, OpenAI } from 'openai'

export type DeploymentConfig = TwinConfigInput['resources'][number]['deployments'][number]

export const apiKey = 'first-key'
export const resource = 'unit'

/** A twin with one resource, its clients, and its control API. */
export interface TwinUnderTest {
  twin: OpenAITwin
  /** The SDK against /openai/v1, retries off. */
  openai: OpenAI
  /** AzureOpenAI against /openai/deployments/…, retries off. */
  azure: AzureOpenAI
  control: (method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown) => Promise<ControlAnswer>
  close: () => Promise<void>
}

interface CallRow {
  index: number
  status: number
  outcome: string
  operation: string
  deployment: string | null
  estimated_tokens: number
  client_request_id: string | null
  headers: Record<string, string>
  right: boolean | null
  difficulty: number | null
  fault: string | null
  model: string | null
}

export interface DeploymentRow {
  settings: { name: string }
  calls: number
  refused_calls: number
  failed_calls: number
  in_flight: number
  max_in_flight: number
  accepted_estimated_tokens: number
  completion_tokens: number
  enqueued_tokens: number
  evicted: boolean
  windows: { startedAt: number; accepted: number; refused: number }[]
}

export interface ControlAnswer {
  status: number
  error?: string
  calls?: CallRow[]
  next?: number
  missed?: number
  now?: number
  faults?: { id: string }[]
  deployments?: DeploymentRow[]
  open_calls?: number
  Events?: { EventId: string }[]
}

export async function startTwin(
  deployments: DeploymentConfig[],
  options: OpenAITwinOptions = {},
): Promise<TwinUnderTest> {
  const config = {
    resources: [{ name: resource, region: 'Sweden Central', keys: [apiKey, 'second-key'], deployments }],
  }
  const twin = await startOpenAITwin({ config, ...options })
  const base = `${twin.url}/r/${resource}`
  return {
    twin,
    openai: new OpenAI({ apiKey, baseURL: `${base}/openai/v1`, maxRetries: 0 }),
    azure: new AzureOpenAI({ apiKey, endpoint: base, apiVersion: '2024-10-21', maxRetries: 0 }),
    control: async (method, path, body) => {
      const response = await fetch(`${twin.url}/_control/${path}`, {
        method,
        headers: { 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(30_000),
      })
      return { status: response.status, ...((await response.json()) as object) }
    },
    close: () => twin.close(),
  }
}

/** The state of one deployment, read through the control API. */
export async function deploymentState(under: TwinUnderTest, name: string): Promise<DeploymentRow> {
  const { deployments } = await under.control('GET', 'state')
  const found = deployments?.find((row) => row.settings.name === name)
  if (!found) throw new Error(`no deployment ${name} in the twin's state`)
  return found
}

/** Asks again until the answer satisfies the condition, or fails with the last answer. */
export async function eventually<T>(
  read: () => Promise<T> | T,
  holds: (value: T) => boolean,
  deadlineMs = 5_000,
): Promise<T> {
  const until = performance.now() + deadlineMs
  for (;;) {
    const value = await read()
    if (holds(value)) return value
    if (performance.now() > until) throw new Error(`not within ${deadlineMs} ms: ${JSON.stringify(value)}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
