import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Account } from './account.ts'
import { defaultKey } from './default-key.ts'
import { createHttpServer } from './http-server.ts'
import { isControlPath } from './protocol/control.ts'
import { Catalog } from './store/catalog.ts'

export interface CosmosEmulatorOptions {
  /** 0 or absent: a free port. */
  port?: number
  /** Default 127.0.0.1. */
  host?: string
  /** Where acknowledged writes survive SIGKILL; absent: in memory. */
  dataDir?: string
  /** The account key, base64; default: a fixed well-known one. */
  key?: string
  /** Time of TTL, `_ts` and query functions, ms since 1970. */
  clock?: { now(): number }
  /** Request units a second for the whole account; absent: unlimited. */
  ruPerSecond?: number
  /** Internal errors (which clients see as 500); default: dropped. */
  onError?: (error: unknown) => void
}

export interface CosmosEmulator {
  port: number
  /** `http://127.0.0.1:PORT/` */
  endpoint: string
  key: string
  close(): Promise<void>
}

/** Starts an account that `@azure/cosmos` can use with `connectionPolicy: { enableEndpointDiscovery: false }`. */
export const startCosmosEmulator = async (options: CosmosEmulatorOptions = {}): Promise<CosmosEmulator> => {
  const { host = '127.0.0.1', key = defaultKey, clock = Date } = options
  const catalog = new Catalog(options.dataDir)
  const account = new Account(catalog, key, options.ruPerSecond)
  const server = createHttpServer({
    handle: (request) => account.handle(request),
    afterCommit: (release) => catalog.commit.afterCommit(release),
    faultFor: (request, url) => (isControlPath(url) ? undefined : account.faults.take(request.method, url)),
    onError: options.onError ?? (() => undefined),
    nowMs: () => clock.now(),
  })
  account.refuse = (durationMs) => refuseConnections(server, durationMs)
  try {
    await listen(server, options.port ?? 0, host)
  } catch (error) {
    catalog.close()
    throw error
  }
  const { port } = server.address() as AddressInfo
  account.endpoint = `http://${host}:${port}/`
  return {
    port,
    endpoint: account.endpoint,
    key,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      catalog.commit.flush()
      server.closeAllConnections()
      await closed
      catalog.close()
    },
  }
}

const listen = (server: Server, port: number, host: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })

const refuseConnections = (server: Server, durationMs: number): void => {
  const destroy = (socket: Socket): void => void socket.destroy()
  if (durationMs > 0) server.on('connection', destroy)
  // After the reply to the control request, which came over one of these connections.
  setImmediate(() => server.closeAllConnections())
  setTimeout(() => server.off('connection', destroy), durationMs).unref()
}
