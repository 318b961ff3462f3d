import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

import { WebSocketServer } from 'ws'

import type { AccessTokens } from './access-tokens.ts'
import { userOf } from './access-tokens.ts'
import type { ClientSession, ClientSessions } from './client-sessions.ts'
import type { FaultPoint, Faults } from './faults.ts'
import { bearerToken, HttpError, readBody, sendJson, throttled, toHttpError } from './http-exchange.ts'
import { hubKey, isHubName } from './hub-registry.ts'
import type { Limits } from './limits.ts'
import { maxMessageBytes } from './limits.ts'
import { createLongPollingTransport } from './long-polling-transport.ts'
import { createServerSentEventsTransport } from './server-sent-events-transport.ts'
import { createWebSocketTransport } from './web-socket-transport.ts'

const availableTransports = [
  { transport: 'WebSockets', transferFormats: ['Text', 'Binary'] },
  { transport: 'ServerSentEvents', transferFormats: ['Text'] },
  { transport: 'LongPolling', transferFormats: ['Text', 'Binary'] },
]

type Deps = { tokens: AccessTokens; sessions: ClientSessions; faults: Faults; limits: Limits; now: () => number }
type Caller = { hub: string; user: string | undefined }

/**
 * What clients call: POST /client/negotiate, then /client/ as a WebSocket, an event stream or long polls, which share POST for
 * the client's messages. Every request carries the token, in its header or (browsers) as access_token.
 */
export function createClientEndpoint({ tokens, sessions, faults, limits, now }: Deps) {
  const webSockets = new WebSocketServer({ noServer: true, maxPayload: maxMessageBytes + 16, perMessageDeflate: false })

  const authenticate = async (request: IncomingMessage, query: URLSearchParams): Promise<Caller> => {
    const hub = query.get('hub') ?? ''
    const token = bearerToken(request) ?? query.get('access_token') ?? undefined
    const claims = await tokens.verify(token, { host: request.headers.host, path: '/client', hub })
    if (!isHubName(hub)) throw new HttpError(400, 'BadRequest', 'The query needs a valid hub name.')
    return { hub: hubKey(hub), user: userOf(claims) }
  }

  /** True when a fault took the request over. */
  const meetFault = async (at: FaultPoint, hub: string, socket: Duplex): Promise<boolean> => {
    const fault = await faults.meet(at, hub)
    if (fault?.type === 'throttle') throw throttled(fault)
    if (fault) socket.destroy()
    return fault !== undefined
  }

  const negotiate = (caller: Caller, query: URLSearchParams, request: IncomingMessage): object => {
    const isVersion1 = Number(query.get('negotiateVersion') ?? 0) >= 1
    const { token, identity } = sessions.negotiate({ ...caller, userAgent: userAgentOf(request) })
    // Version 0 knows one id only, so the secret token has to serve as both.
    if (!isVersion1) return { negotiateVersion: 0, connectionId: token, availableTransports }
    return { negotiateVersion: 1, connectionId: identity.connectionId, connectionToken: token, availableTransports }
  }

  const sessionOf = (caller: Caller, query: URLSearchParams): ClientSession => {
    const id = query.get('id')
    if (id === null) throw new HttpError(400, 'BadRequest', 'Connection ID required')
    const session = sessions.find(id)
    if (!session || session.identity.hub !== caller.hub)
      throw new HttpError(404, 'NotFound', 'No Connection with that ID')
    if (session.identity.user !== caller.user)
      throw new HttpError(403, 'Forbidden', 'The connection belongs to another user.')
    return session
  }

  const openEventStream = (session: ClientSession, response: ServerResponse): void => {
    if (session.connection) throw new HttpError(409, 'Conflict', 'The connection is already open.')
    const connection = sessions.connect(session, createServerSentEventsTransport(response))
    response.once('close', () => connection.transportClosed('the event stream was closed'))
  }

  const poll = (session: ClientSession, response: ServerResponse): void => {
    if (session.connection && !session.polling) throw new HttpError(400, 'BadRequest', 'The connection does not poll.')
    if (!session.polling) {
      session.polling = createLongPollingTransport(limits.pollTimeoutMs, now, () => sessions.forget(session))
      sessions.connect(session, session.polling)
    }
    session.polling.poll(response)
  }

  const receive = async (session: ClientSession, request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { connection } = session
    if (!connection) throw new HttpError(404, 'NotFound', 'The connection is not open yet.')
    if (connection.transport === 'WebSockets') {
      throw new HttpError(400, 'BadRequest', 'POST requests are not allowed for WebSocket connections.')
    }
    const body = await readBody(request, maxMessageBytes + 16)
    connection.receive(body)
    response.writeHead(202, { 'content-type': 'text/plain', 'content-length': 0 }).end()
  }

  const terminate = (session: ClientSession, response: ServerResponse): void => {
    if (!session.polling) throw new HttpError(400, 'BadRequest', 'Cannot terminate this connection via DELETE.')
    session.connection?.transportClosed('deleted by the client')
    session.polling.destroy()
    response.writeHead(202, { 'content-type': 'text/plain', 'content-length': 0 }).end()
  }

  return {
    /** Throws HttpError and UnauthorizedError. */
    async handle(
      request: IncomingMessage,
      response: ServerResponse,
      path: string,
      query: URLSearchParams,
    ): Promise<void> {
      allowOrigin(request, response)
      if (request.method === 'OPTIONS') return void response.writeHead(204).end()
      const isNegotiation = path === '/client/negotiate'
      if (!isNegotiation && path !== '/client' && path !== '/client/')
        throw new HttpError(404, 'NotFound', 'Not found.')
      const caller = await authenticate(request, query)
      if (isNegotiation) {
        if (request.method !== 'POST')
          throw new HttpError(405, 'MethodNotAllowed', 'Negotiation is a POST.', { allow: 'POST' })
        if (await meetFault('negotiate', caller.hub, request.socket)) return
        return sendJson(response, 200, negotiate(caller, query, request))
      }
      const session = sessionOf(caller, query)
      switch (request.method) {
        case 'GET':
          if (!session.connection && (await meetFault('connect', caller.hub, request.socket))) return
          if (request.headers.accept?.includes('text/event-stream')) return openEventStream(session, response)
          return poll(session, response)
        case 'POST':
          return receive(session, request, response)
        case 'DELETE':
          return terminate(session, response)
        default:
          throw new HttpError(405, 'MethodNotAllowed', 'Not allowed.', { allow: 'GET, POST, DELETE' })
      }
    },

    /** The opening of a WebSocket. A client may skip negotiation and come without an id. */
    async upgrade(
      request: IncomingMessage,
      socket: Duplex,
      head: Buffer,
      path: string,
      query: URLSearchParams,
    ): Promise<void> {
      try {
        if (path !== '/client' && path !== '/client/') throw new HttpError(404, 'NotFound', 'Not found.')
        const caller = await authenticate(request, query)
        if (await meetFault('connect', caller.hub, socket)) return
        const session = query.has('id')
          ? sessionOf(caller, query)
          : sessions.negotiate({ ...caller, userAgent: userAgentOf(request) })
        if (session.connection) throw new HttpError(409, 'Conflict', 'The connection is already open.')
        webSockets.handleUpgrade(request, socket, head, (webSocket) => {
          const connection = sessions.connect(session, createWebSocketTransport(webSocket))
          webSocket.on('message', (data: Buffer) => connection.receive(data))
          webSocket.on('error', (error) => connection.transportClosed(`WebSocket error: ${error.message}`))
          webSocket.on('close', (code) => connection.transportClosed(`WebSocket closed: ${code}`))
        })
      } catch (error) {
        refuseUpgrade(socket, toHttpError(error))
      }
    },

    close: (): void => {
      for (const webSocket of webSockets.clients) webSocket.terminate()
      webSockets.close()
    },
  }
}

const userAgentOf = (request: IncomingMessage): string | undefined =>
  request.headers['x-signalr-user-agent']?.toString() ?? request.headers['user-agent']

function allowOrigin(request: IncomingMessage, response: ServerResponse): void {
  const { origin } = request.headers
  if (origin === undefined) return
  response.setHeader('access-control-allow-origin', origin)
  response.setHeader('access-control-allow-credentials', 'true')
  response.setHeader('vary', 'origin')
  if (request.method !== 'OPTIONS') return
  response.setHeader('access-control-allow-methods', 'GET, POST, DELETE')
  response.setHeader('access-control-allow-headers', request.headers['access-control-request-headers'] ?? '')
}

function refuseUpgrade(socket: Duplex, { status, code, message, headers }: HttpError): void {
  const body = JSON.stringify({ code, message })
  const lines = Object.entries({
    ...headers,
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  }).map(([name, value]) => `${name}: ${value}`)
  // Destroyed once written: a client that keeps its own half open must not hold the server's close() back.
  socket.end([`HTTP/1.1 ${status} ${code}`, ...lines, '', body].join('\r\n'), () => socket.destroy())
}
