import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

import { HttpTransportType, HubConnectionBuilder, NullLogger } from '@microsoft/signalr'
import type { HubConnection } from '@microsoft/signalr'
import { MessagePackHubProtocol } from '@microsoft/signalr-protocol-msgpack'
import { SignJWT } from 'jose'
import { WebSocket } from 'ws'

export type ConnectOptions = {
  hub: string
  user?: string
  transport?: HttpTransportType
  protocol?: 'json' | 'messagepack'
  reconnect?: boolean
}

/** A connected client and everything that arrived for the target `event`, as arrays of arguments. */
export type TestClient = {
  connection: HubConnection
  connectionId: string
  received: unknown[][]
  /** Settles when the connection is closed for good. */
  closed: Promise<Error | undefined>
}

type CallOptions = {
  query?: Record<string, string | string[]>
  body?: unknown
  token?: string
  headers?: Record<string, string>
}

export type SignalRApp = Awaited<ReturnType<typeof startSignalRApp>>

/**
 * The upstream side of a serverless hub: a negotiate endpoint for clients, and the REST API with tokens as documented. A
 * hub prefix keeps apart what shares a service: every hub that is named, also in a path or an audience, gets it.
 */
export async function startSignalRApp(connectionString: string, hubPrefix = '') {
  const { url, audience, accessKey } = parseConnectionString(connectionString)
  const connections: HubConnection[] = []

  const prefixed = (text: string): string =>
    hubPrefix === '' || text.includes(hubPrefix)
      ? text
      : text.replace(/(\/hubs\/|[?&]hub=)(?=[A-Za-z]\w*(?:[/?&]|$))/, (before) => before + hubPrefix)

  const sign = (
    aud: string,
    claims: Record<string, unknown> = {},
    expiresAtMs = Date.now() + 60_000,
    key = accessKey,
  ) =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setAudience(prefixed(aud))
      .setExpirationTime(Math.floor(expiresAtMs / 1000))
      .sign(new TextEncoder().encode(key))

  const clientUrl = (hub: string): string => prefixed(`${url}/client/?hub=${hub}`)
  const clientToken = (hub: string, user?: string): Promise<string> =>
    sign(`${audience}/client/?hub=${hub}`, user === undefined ? {} : { nameid: user })

  const app = createServer((request, response) => {
    const query = new URL(request.url ?? '', 'http://app').searchParams
    const hub = query.get('hub') ?? ''
    void clientToken(hub, query.get('user') ?? undefined).then((accessToken) => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ url: clientUrl(hub), accessToken }))
    })
  })
  await new Promise<void>((resolve) => {
    app.listen(0, '127.0.0.1', resolve)
  })
  const appUrl = `http://127.0.0.1:${(app.address() as AddressInfo).port}`

  return {
    url,
    audience,
    accessKey,
    prefixed,
    sign,
    clientUrl,
    clientToken,

    build({
      hub,
      user,
      transport = HttpTransportType.WebSockets,
      protocol = 'json',
      reconnect = false,
    }: ConnectOptions): HubConnection {
      const userQuery = user === undefined ? '' : `&user=${encodeURIComponent(user)}`
      const builder = new HubConnectionBuilder()
        .withUrl(`${appUrl}/hub?hub=${hub}${userQuery}`, { transport })
        .configureLogging(NullLogger.instance)
      if (protocol === 'messagepack') builder.withHubProtocol(new MessagePackHubProtocol())
      if (reconnect) builder.withAutomaticReconnect([0, 50, 100, 200, 400])
      const connection = builder.build()
      connections.push(connection)
      return connection
    },

    async connect(options: ConnectOptions): Promise<TestClient> {
      const connection = this.build(options)
      const received: unknown[][] = []
      connection.on('event', (...args: unknown[]) => received.push(args))
      const closed = new Promise<Error | undefined>((resolve) => {
        connection.onclose(resolve)
      })
      await connection.start()
      return { connection, connectionId: connection.connectionId ?? '', received, closed }
    },

    /** The service's own negotiation, which the client does by itself. */
    async negotiate(query = 'hub=chat&negotiateVersion=1', token?: string): Promise<Response> {
      const authorization = `Bearer ${token ?? (await clientToken('chat', 'u1'))}`
      return fetch(prefixed(`${url}/client/negotiate?${query}`), { method: 'POST', headers: { authorization } })
    },

    /** A bare WebSocket of user u1 in hub chat, negotiated but without a handshake, and what it receives as text. */
    async openSocket(): Promise<{ socket: WebSocket; received: string[] }> {
      const { connectionToken } = (await (await this.negotiate()).json()) as { connectionToken: string }
      const socket = new WebSocket(`${clientUrl('chat').replace('http', 'ws')}&id=${connectionToken}`, {
        headers: { authorization: `Bearer ${await clientToken('chat', 'u1')}` },
      })
      const received: string[] = []
      socket.on('message', (data: Buffer) => received.push(data.toString()))
      socket.on('error', () => undefined)
      await once(socket, 'open')
      return { socket, received }
    },

    /** Calls the REST API of 2022-06-01 (`/api/…`) or the older one (`/api/v1/…`). */
    async call(
      method: string,
      path: string,
      { query = {}, body, token, headers = {} }: CallOptions = {},
    ): Promise<Response> {
      const target = new URL(prefixed(`${url}${path}`))
      if (!path.startsWith('/api/v1/')) target.searchParams.set('api-version', '2022-06-01')
      for (const [name, value] of Object.entries(query))
        for (const one of [value].flat()) target.searchParams.append(name, one)
      return fetch(target, {
        method,
        headers: {
          authorization: `Bearer ${token ?? (await sign(`${audience}${path}`))}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
        signal: AbortSignal.timeout(10_000),
      })
    },

    async close(): Promise<void> {
      await Promise.all(connections.map((connection) => connection.stop()))
      app.closeAllConnections()
      await new Promise((resolve) => {
        app.close(resolve)
      })
    },
  }
}

export const event = (...args: unknown[]) => ({ target: 'event', arguments: args })

function parseConnectionString(connectionString: string): { url: string; audience: string; accessKey: string } {
  const fields = new Map(
    connectionString
      .split(';')
      .filter((part) => part !== '')
      .map((part) => [part.slice(0, part.indexOf('=')).toLowerCase(), part.slice(part.indexOf('=') + 1)]),
  )
  const audience = (fields.get('endpoint') ?? '').replace(/\/$/, '')
  const port = fields.get('port')
  // As Microsoft's SDKs build them: the port is in the URL and not in the audience.
  return {
    audience,
    url: port === undefined ? audience : `${audience}:${port}`,
    accessKey: fields.get('accesskey') ?? '',
  }
}
