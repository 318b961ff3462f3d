import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'

/** How a path asks for realtime: the current API, or Azure's preview with its own events. */
type Dialect = { kind: 'v1' } | { kind: 'preview'; apiVersion: string }

/** A WebSocket handshake as its URL and headers tell it. */
export interface Handshake {
  dialect: Dialect
  /** A model, alias, tier or deployment. */
  model: string | undefined
  /** In a header, or in the sub-protocol, which is all that a browser can set. */
  credential: string | undefined
  /** From `?key=`, where URLs may carry it. */
  keyInQuery: string | undefined
  /** The rest of the query, passed on. */
  query: URLSearchParams
  /** The preview's header of api.openai.com, passed on. */
  beta: string | undefined
  origin: string | undefined
}

const paths = /^\/(?:openai\/)?v1\/realtime(?:\/sessions)?\/?$/
const previewPath = /^\/openai\/realtime\/?$/
// What Sluice decides itself; and `call_id`, which would open another caller's session on the account that all share.
const unpassed = ['model', 'deployment', 'key', 'api-key', 'api-version', 'call_id']
const keyProtocol = 'openai-insecure-api-key.'

/** @returns undefined for a path that is none of realtime's */
export function readHandshake(request: Pick<IncomingMessage, 'url' | 'headers'>): Handshake | undefined {
  const target = request.url ?? '/'
  // `//` and its like are no address: nothing is served there.
  if (!URL.canParse(target, 'http://localhost')) return undefined
  const { pathname, searchParams: query } = new URL(target, 'http://localhost')
  const apiVersion = query.get('api-version')
  const preview = previewPath.test(pathname) && apiVersion !== null
  if (!preview && !paths.test(pathname)) return undefined
  const model = query.get('model') ?? query.get('deployment') ?? undefined
  const keyInQuery = query.get('key') ?? query.get('api-key') ?? undefined
  for (const own of unpassed) query.delete(own)
  return {
    dialect: preview ? { kind: 'preview', apiVersion } : { kind: 'v1' },
    model,
    credential: credentialOf(request.headers),
    keyInQuery,
    query,
    beta: textOf(request.headers['openai-beta']),
    origin: request.headers.origin,
  }
}

function credentialOf(headers: IncomingHttpHeaders): string | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
  const plain = textOf(headers['api-key']) ?? textOf(headers['ocp-apim-subscription-key'])
  const protocol = (headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((name) => name.trim())
    .find((name) => name.startsWith(keyProtocol))
  return bearer ?? plain ?? protocol?.slice(keyProtocol.length)
}

const textOf = (value: string | string[] | undefined): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined
