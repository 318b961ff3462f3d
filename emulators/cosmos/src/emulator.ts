import type { AddressInfo } from 'node:net'
import { defaultKey } from './default-key.ts'
import { createHttpServer } from './http-server.ts'
import { Authorizer } from './protocol/authorization.ts'
import { Router } from './protocol/router.ts'
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
  const authorizer = new Authorizer(key)
  let endpoint = ''
  const router = new Router(catalog, () => endpoint)
  const server = createHttpServer({
    handle: (request) => {
      authorizer.check({
        method: request.method,
        resourceType: request.path.resourceType,
        resourceLinks: request.path.signedLinks,
        date: request.headers['x-ms-date']?.toString(),
        authorization: request.headers.authorization,
      })
      return router.handle(request)
    },
    afterCommit: (release) => catalog.commit.afterCommit(release),
    intercept: () => false,
    onError: options.onError ?? (() => undefined),
    nowMs: () => clock.now(),
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, host, resolve)
  })
  const { port } = server.address() as AddressInfo
  endpoint = `http://${host}:${port}/`
  return {
    port,
    endpoint,
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
