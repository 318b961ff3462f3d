import { realAzure } from './real-azure.ts'
import { apiKey, resource, startTwin } from './openai-twin.ts'

const kinds = ['chat', 'embedding', 'transcription', 'speech', 'realtime', 'batch'] as const
export type DeploymentKind = (typeof kinds)[number]

/** A resource with deployments to test against: the twin's, or a real one. */
export type OpenAIService = {
  endpoint: string
  apiKey: string
  /** The name of the deployment that serves this. */
  deployment(kind: DeploymentKind): string
  close(): Promise<void>
}

/** Whether the resource has such a deployment; on the real one only those that the environment names. */
export const isServed = (kind: DeploymentKind): boolean =>
  realAzure.openAI === undefined || realAzure.openAI.deployments[kind] !== undefined

export const openService = async (): Promise<OpenAIService> => {
  if (realAzure.openAI !== undefined) {
    const { endpoint, apiKey: key, deployments } = realAzure.openAI
    return {
      endpoint: endpoint.replace(/\/$/, ''),
      apiKey: key,
      deployment: (kind) => deployments[kind] ?? kind,
      close: () => Promise.resolve(),
    }
  }
  const under = await startTwin([
    { name: 'chat', model: 'gpt-4.1', tokens_per_minute: 100_000, requests_per_minute: 600 },
    { name: 'embedding', model: 'text-embedding-3-small' },
    { name: 'transcription', model: 'whisper' },
    { name: 'speech', model: 'tts' },
    { name: 'realtime', model: 'gpt-realtime', ability: 1 },
    { name: 'batch', model: 'gpt-4.1', kind: 'batch' },
  ])
  return {
    endpoint: `${under.twin.url}/r/${resource}`,
    apiKey,
    deployment: (kind) => kind,
    close: () => under.close(),
  }
}
