import type { Readable } from 'node:stream'
import type { Deployment, DeploymentUrl } from '@sluice/contracts'
import { type Dispatcher, Pool } from 'undici'

export interface ForwardCall {
  url: DeploymentUrl
  /** JSON or multipart, as it goes over the wire. */
  body: Buffer | Readable
  contentType: string
  /** Sent as x-ms-client-request-id, which the provider's logs carry. */
  requestId: string
  traceparent?: string | undefined
}

/** undici's own events: the answer's bytes arrive as they were read, and `pause` holds the upstream's socket back. */
export type ForwardEvents = Required<
  Pick<
    Dispatcher.DispatchHandler,
    'onRequestStart' | 'onResponseStart' | 'onResponseData' | 'onResponseEnd' | 'onResponseError'
  >
>

export type ForwardController = Dispatcher.DispatchController

/** Sends a call's bytes to a deployment and hands the answer's on; nothing is parsed, decoded or buffered in between. */
export interface ForwardClient {
  send(deployment: Deployment, call: ForwardCall, events: ForwardEvents): void
  /** Ends idle connections at once and busy ones after `ms`. */
  close(ms: number): Promise<void>
}

const connectTimeoutMs = 10_000

/**
 * One pool of connections an origin. Their number is not limited: admission bounds the calls in flight, and a queue inside
 * a pool would spend a call's deadline unseen. HTTP/1.1 only: its sockets give backpressure for one stream each.
 * @param apiKeyOf a deployment's key at this moment
 */
export function createForwardClient(options: { apiKeyOf: (deployment: Deployment) => string }): ForwardClient {
  const pools = new Map<string, Pool>()
  const targets = new Map<string, { pool: Pool; path: string }>()

  const targetOf = ({ name, endpoint }: Deployment) => {
    let target = targets.get(name)
    if (target === undefined) {
      const { origin, pathname } = new URL(endpoint)
      let pool = pools.get(origin)
      if (pool === undefined) {
        // The caller of `send` bounds every phase of a call; undici's timers would cut a slow model.
        const timeouts = { headersTimeout: 0, bodyTimeout: 0, connectTimeout: connectTimeoutMs }
        pool = new Pool(origin, { ...timeouts, keepAliveTimeout: 30_000, allowH2: false })
        pools.set(origin, pool)
      }
      target = { pool, path: pathname.replace(/\/$/, '') }
      targets.set(name, target)
    }
    return target
  }

  return {
    send(deployment, { url, body, contentType, requestId, traceparent }, events) {
      const { pool, path } = targetOf(deployment)
      const headers = [
        'content-type',
        contentType,
        'authorization',
        `Bearer ${options.apiKeyOf(deployment)}`,
        'x-ms-client-request-id',
        requestId,
      ]
      if (traceparent !== undefined) headers.push('traceparent', traceparent)
      pool.dispatch({ path: path + url.slice('/v1'.length), method: 'POST', headers, body }, events)
    },
    async close(ms) {
      const all = [...pools.values()]
      pools.clear()
      targets.clear()
      const destroy = setTimeout(() => {
        for (const pool of all) void pool.destroy()
      }, ms)
      await Promise.allSettled(all.map((pool) => pool.close()))
      clearTimeout(destroy)
    },
  }
}
