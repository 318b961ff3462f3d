import type { Operation } from '../control/faults.ts'

/** Where a call goes, read from its URL alone. */
export interface Route {
  /** From /r/<resource>; absent for the root, which is the first resource. */
  resource: string | undefined
  /** v1: /openai/v1/…; azure: /openai/…?api-version=…; plain: /v1/… as any OpenAI-compatible server has it. */
  style: 'v1' | 'azure' | 'plain'
  /** From /openai/deployments/<name>/…; else the body's model names the deployment. */
  deployment: string | undefined
  /** What follows, such as ['chat', 'completions'] or ['files', 'file-1', 'content']. */
  path: string[]
  query: URLSearchParams
}

const noQuery = new URLSearchParams()

function decodePath(path: string): string[] | undefined {
  const segments = path.split('/')
  segments.shift()
  if (segments.at(-1) === '') segments.pop()
  if (!path.includes('%')) return segments
  try {
    return segments.map(decodeURIComponent)
  } catch {
    return undefined
  }
}

/** Undefined for a path that no form of the API has. */
export function parseRoute(url: string): Route | undefined {
  const mark = url.indexOf('?')
  const segments = decodePath(mark < 0 ? url : url.slice(0, mark))
  if (!segments) return undefined
  const query = mark < 0 ? noQuery : new URLSearchParams(url.slice(mark + 1))
  let resource: string | undefined
  if (segments[0] === 'r') {
    resource = segments[1]
    segments.splice(0, 2)
  }
  if (segments[0] === 'v1') return { resource, style: 'plain', deployment: undefined, path: segments.slice(1), query }
  if (segments[0] !== 'openai') return undefined
  if (segments[1] === 'v1') return { resource, style: 'v1', deployment: undefined, path: segments.slice(2), query }
  if (segments[1] === 'deployments' && segments[2] !== undefined) {
    return { resource, style: 'azure', deployment: segments[2], path: segments.slice(3), query }
  }
  return { resource, style: 'azure', deployment: undefined, path: segments.slice(1), query }
}

const posts: Record<string, Operation> = {
  'chat/completions': 'chat',
  completions: 'completions',
  responses: 'responses',
  embeddings: 'embeddings',
  'audio/transcriptions': 'transcriptions',
  'audio/speech': 'speech',
  'realtime/client_secrets': 'client_secrets',
  'realtimeapi/sessions': 'client_secrets',
}

/** The operation of a method and path; undefined when the API has none there. */
export function operationOf(method: string, path: readonly string[]): Operation | undefined {
  if (method === 'POST') {
    const posted = posts[path.join('/')]
    if (posted) return posted
  }
  const [first, id] = path
  if (first === 'files' || first === 'batches') return first
  if (first === 'models' && method === 'GET') return 'models'
  if (first === 'responses' && id !== undefined && (method === 'GET' || method === 'DELETE')) return 'responses'
  return undefined
}
