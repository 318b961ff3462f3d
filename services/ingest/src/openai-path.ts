import type { DeploymentUrl } from '@sluice/contracts'

/** Where a synchronous call goes, in whichever form it was written. */
export interface OpenAIPath {
  url: DeploymentUrl
  /** Azure's older form names a deployment in the path; it may be a model, a tier or an alias here. */
  model: string | undefined
  /** Whether calls of a session stay in its region. */
  affinity: boolean
}

const operations: ReadonlyMap<string, DeploymentUrl> = new Map([
  ['chat/completions', '/v1/chat/completions'],
  ['responses', '/v1/responses'],
  ['embeddings', '/v1/embeddings'],
  ['audio/transcriptions', '/v1/audio/transcriptions'],
  ['audio/speech', '/v1/audio/speech'],
])

// `AzureOpenAI` appends `/openai` to its endpoint, which may already be one of the doors.
const azure = /^\/openai(-realtime)?(?:\/openai)?(?:\/v1|\/deployments\/([^/]+))?\/([a-z/]+)$/

/**
 * @param target a request's target, query included; versions are Azure's business and ignored
 * @returns undefined for everything but the five operations
 */
export function openAIPath(target: string): OpenAIPath | undefined {
  const query = target.indexOf('?')
  const path = query < 0 ? target : target.slice(0, query)
  if (path.startsWith('/v1/')) {
    const url = operations.get(path.slice(4))
    return url === undefined ? undefined : { url, model: undefined, affinity: false }
  }
  const [, realtime, name, operation] = azure.exec(path) ?? []
  const url = operation === undefined ? undefined : operations.get(operation)
  if (url === undefined || (realtime !== undefined && url.startsWith('/v1/audio'))) return undefined
  const model = name === undefined ? undefined : decode(name)
  return name !== undefined && model === undefined ? undefined : { url, model, affinity: realtime !== undefined }
}

function decode(name: string): string | undefined {
  try {
    return decodeURIComponent(name)
  } catch {
    return undefined
  }
}
