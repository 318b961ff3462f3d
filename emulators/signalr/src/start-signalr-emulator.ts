import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'

import { createAccessTokens } from './access-tokens.ts'
import { createClientEndpoint } from './client-endpoint.ts'
import { createClientSessions } from './client-sessions.ts'
import { createControlEndpoint } from './control-endpoint.ts'
import { createFaults } from './faults.ts'
import { HttpError, sendError, toHttpError } from './http-exchange.ts'
import { createHubRegistry } from './hub-registry.ts'
import type { Limits } from './limits.ts'
import { defaultLimits } from './limits.ts'
import { createRestEndpoint } from './rest-endpoint.ts'

export type SignalREmulatorOptions = {
  /** 0, the default, takes a free port. */
  port?: number
  host?: string
  accessKey?: string
  /** The time in ms since the epoch, for tokens and for every deadline. */
  clock?: () => number
  limits?: Partial<Limits>
  /** One line a notable event. */
  log?: (line: string) => void
}

export type SignalREmulator = {
  port: number
  /** In the form of Microsoft's own emulator, with the port apart from the endpoint. */
  connectionString: string
  close(): Promise<void>
}

/** The access key of Microsoft's own emulator, so that its users find what they know. */
const defaultAccessKey = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEFGH'

/** How long clients may take to read their Close message when the emulator closes. */
const closeGraceMs = 500

/** An Azure SignalR Service in serverless mode: REST data plane, clients over three transports, control API under /_control/. */
export async function startSignalREmulator(options: SignalREmulatorOptions = {}): Promise<SignalREmulator> {
  const {
    port = 0,
    host = '127.0.0.1',
    accessKey = defaultAccessKey,
    clock = Date.now,
    log = () => undefined,
  } = options
  const limits = { ...defaultLimits, ...options.limits }
  const closing = new AbortController()

  const hubs = createHubRegistry(clock)
  const faults = createFaults(closing.signal)
  const tokens = createAccessTokens(accessKey, () => address().port, clock)
  const sessions = createClientSessions(hubs, limits, clock, log)
  const clients = createClientEndpoint({ tokens, sessions, faults, limits, now: clock })
  const rest = createRestEndpoint({ tokens, hubs, faults })
  const control = createControlEndpoint({ hubs, sessions, faults, rest })

  const route = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { path, query } = split(request)
    if (path.startsWith('/api/')) return rest.handle(request, response, path, query)
    if (path.startsWith('/client')) return clients.handle(request, response, path, query)
    if (path.startsWith('/_control/')) return control.handle(request, response, path)
    throw new HttpError(404, 'NotFound', 'Not found.')
  }

  // Headers past 16 KiB are a 431, as the service limits them.
  const server = createServer(
    { maxHeaderSize: 16 * 1024, keepAliveTimeout: 65_000, noDelay: true },
    (request, response) => {
      request.on('error', () => response.destroy())
      route(request, response).catch((error: unknown) => {
        const failure = toHttpError(error)
        if (failure.status === 500) log(`${request.method} ${request.url} failed: ${failure.message}`)
        sendError(request, response, failure)
      })
    },
  )
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy())
    const { path, query } = split(request)
    void clients.upgrade(request, socket, head, path, query)
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    const status = error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request'
    if (socket.writable) socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\n\r\n`, () => socket.destroy())
    else socket.destroy()
  })

  const address = (): AddressInfo => server.address() as AddressInfo
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const sweeper = setInterval(() => sessions.sweep(), limits.sweepIntervalMs)
  const bound = address().port

  return {
    port: bound,
    connectionString: `Endpoint=http://${host.includes(':') ? `[${host}]` : host};Port=${bound};AccessKey=${accessKey};Version=1.0;`,
    async close() {
      clearInterval(sweeper)
      closing.abort()
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      sessions.closeAll('The service is shutting down.', true)
      const grace = setTimeout(() => {
        clients.close()
        server.closeAllConnections()
      }, closeGraceMs)
      server.closeIdleConnections()
      await closed
      clearTimeout(grace)
      clients.close()
    },
  }
}

function split(request: IncomingMessage): { path: string; query: URLSearchParams } {
  const url = request.url ?? '/'
  const mark = url.indexOf('?')
  return mark === -1
    ? { path: url, query: new URLSearchParams() }
    : { path: url.slice(0, mark), query: new URLSearchParams(url.slice(mark)) }
}
