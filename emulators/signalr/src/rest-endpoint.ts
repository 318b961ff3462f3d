import type { IncomingMessage, ServerResponse } from 'node:http'

import type { AccessTokens } from './access-tokens.ts'
import type { Faults } from './faults.ts'
import { bearerToken, decodeSegments, HttpError, readBody, throttled } from './http-exchange.ts'
import type { HubRegistry } from './hub-registry.ts'
import { hubKey, isHubName } from './hub-registry.ts'
import { maxMessageBytes } from './limits.ts'
import type { Call } from './rest-operations.ts'
import { operations } from './rest-operations.ts'
import type { ApiVersion, Route } from './rest-routes.ts'
import { matchRoute } from './rest-routes.ts'

/** Later versions only add operations, so their calls of these operations are served alike. */
const apiVersions = new Set(['2022-06-01', '2022-11-01', '2023-07-01', '2024-12-01'])

/** .NET's reader stops there. Without a bound JSON.stringify overflows the stack and MessagePack's encoder refuses at 100. */
const maxDepth = 64

const badRequest = (message: string): HttpError => new HttpError(400, 'BadRequest', message)

type Deps = { tokens: AccessTokens; hubs: HubRegistry; faults: Faults }

/** The data plane's REST API under /api/v1/ and, with ?api-version=, under /api/. Throws HttpError and UnauthorizedError. */
export function createRestEndpoint({ tokens, hubs, faults }: Deps) {
  const counters = { calls: 0, refused: 0 }

  const serve = async (
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    query: URLSearchParams,
  ): Promise<void> => {
    const { version, segments } = splitPath(path)
    const method = request.method ?? 'GET'
    if (segments[0] === 'health' && segments.length === 1) {
      if (method !== 'HEAD' && method !== 'GET') throw notAllowed(['HEAD', 'GET'])
      return void response.writeHead(200, { 'content-length': 0 }).end()
    }
    if (segments[0] !== 'hubs') throw new HttpError(404, 'NotFound', 'Not found.')
    const route = matchRoute(version, method, segments.slice(1))
    if ('allow' in route) {
      throw route.allow.length > 0 ? notAllowed(route.allow) : new HttpError(404, 'NotFound', 'Not found.')
    }
    await tokens.verify(bearerToken(request), { host: request.headers.host, path })
    const key = checkNames(route, version, query)

    const fault = await faults.meet('rest', key)
    if (fault?.type === 'throttle') throw throttled(fault)
    if (fault) return void request.socket.destroy()

    const call: Call = {
      hub: undefined,
      openHub: () => hubs.open(key),
      parameters: route.parameters,
      excluded: new Set(query.getAll('excluded')),
      reason: query.get('reason') ?? undefined,
      ttlSeconds: parseTtl(query.get('ttl')),
      message: isSend(route) ? parseMessage(request, await readBody(request, maxMessageBytes)) : undefined,
    }
    // Looked up after the body has arrived: the hub may have come or gone meanwhile.
    call.hub = hubs.find(key)
    operations[route.operation](call)
    hubs.releaseIfEmpty(key)
    response.writeHead(route.status, route.status === 204 ? {} : { 'content-length': 0 }).end()
  }

  return {
    counters,
    async handle(
      request: IncomingMessage,
      response: ServerResponse,
      path: string,
      query: URLSearchParams,
    ): Promise<void> {
      counters.calls++
      try {
        await serve(request, response, path, query)
      } catch (error) {
        counters.refused++
        throw error
      }
    },
  }
}

const isSend = ({ operation }: Route): boolean => operation === 'broadcast' || operation.startsWith('sendTo')

const notAllowed = (allow: string[]): HttpError =>
  new HttpError(405, 'MethodNotAllowed', 'The method is not allowed here.', { allow: allow.join(', ') })

function splitPath(path: string): { version: ApiVersion; segments: string[] } {
  const segments = decodeSegments(path)
  if (!segments) throw badRequest('The path is malformed.')
  return segments[1] === 'v1'
    ? { version: 'v1', segments: segments.slice(2) }
    : { version: 'dated', segments: segments.slice(1) }
}

/** Returns the key of the hub. */
function checkNames({ parameters }: Route, version: ApiVersion, query: URLSearchParams): string {
  if (version === 'dated') {
    const wanted = query.get('api-version')
    if (wanted === null) throw badRequest('The query needs an api-version.')
    if (!apiVersions.has(wanted)) throw badRequest(`The api-version '${wanted.slice(0, 32)}' is not supported.`)
  }
  const { hub, group } = parameters
  const application = query.get('application')
  if (!isHubName(hub)) throw badRequest('The hub name is invalid.')
  if (application !== null && !isHubName(application)) throw badRequest('The application name is invalid.')
  if (group !== '' && (group.length > 1024 || group.trim() === '')) throw badRequest('The group name is invalid.')
  return hubKey(hub, application)
}

function parseTtl(text: string | null): number | undefined {
  if (text === null) return undefined
  const ttl = Number(text)
  if (!Number.isInteger(ttl) || ttl < 0 || ttl > 2 ** 31 - 1) throw badRequest('The ttl is not a number of seconds.')
  return ttl
}

function parseMessage(request: IncomingMessage, body: Buffer): { target: string; arguments: unknown[] } {
  const mediaType = request.headers['content-type']?.split(';')[0]?.trim().toLowerCase()
  if (mediaType !== 'application/json')
    throw new HttpError(415, 'UnsupportedMediaType', 'The body has to be application/json.')
  let message: unknown
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(body)
    if (isDeeperThan(text, maxDepth)) throw new RangeError('too deep')
    message = JSON.parse(text)
  } catch {
    throw badRequest(`The body is not JSON of at most ${maxDepth} levels.`)
  }
  if (typeof message !== 'object' || message === null || Array.isArray(message))
    throw badRequest('The message is not an object.')
  // The service binds names without regard to case: v1 documents Target and Arguments, later versions target and arguments.
  const fields = new Map(Object.entries(message).map(([name, value]: [string, unknown]) => [name.toLowerCase(), value]))
  const target = fields.get('target')
  const args = fields.get('arguments') ?? []
  if (typeof target !== 'string' || target === '') throw badRequest('The message needs a target.')
  if (!Array.isArray(args)) throw badRequest('The arguments of the message are not an array.')
  return { target, arguments: args as unknown[] }
}

function isDeeperThan(json: string, limit: number): boolean {
  let depth = 0
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/gs)) {
    if (token === '[' || token === '{') depth++
    else if (token === ']' || token === '}') depth--
    if (depth > limit) return true
  }
  return false
}
