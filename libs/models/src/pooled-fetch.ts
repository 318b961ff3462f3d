import { Pool } from 'undici'

/** As much of the fetch API as the openai SDK uses for answers that are not streamed. */
export interface PooledFetch {
  fetch: (url: string | URL | Request, init?: RequestInit) => Promise<Response>
  /** Ends idle connections at once and busy ones after `ms`. */
  close(ms: number): Promise<void>
}

// Larger answers do not exist; an endless one must not fill the memory.
const maxResponseBytes = 64 * 1024 * 1024

/**
 * A fetch on undici's Pool, one pool an origin. Node's own fetch spends several times the CPU on web streams and
 * Headers objects that nobody here looks at. Connections are not limited: requests in flight are bounded by the
 * worker's slots, and a queue inside a pool would spend a call's deadline unseen.
 */
export function createPooledFetch(): PooledFetch {
  const pools = new Map<string, Pool>()

  const poolOf = (origin: string): Pool => {
    let pool = pools.get(origin)
    if (!pool) {
      // The call's own signal bounds connecting, headers and body together; undici's timers would cut a slow model.
      const timeouts = { headersTimeout: 0, bodyTimeout: 0, connect: { timeout: 10_000 } }
      pool = new Pool(origin, { ...timeouts, keepAliveTimeout: 30_000, maxResponseSize: maxResponseBytes })
      pools.set(origin, pool)
    }
    return pool
  }

  return {
    async fetch(url, init = {}) {
      if (typeof url !== 'string') throw new TypeError('expected a URL as a string')
      const path = url.indexOf('/', url.indexOf('//') + 2)
      const answer = await poolOf(url.slice(0, path)).request({
        path: url.slice(path),
        method: init.method ?? 'GET',
        headers: Object.fromEntries(init.headers as Headers),
        body: (init.body ?? null) as string | null,
        signal: init.signal ?? null,
      })
      // Reading the body in here keeps it under the SDK's timeout, which ends when fetch returns.
      const text = await answer.body.text()
      return bufferedResponse(url, answer.statusCode, answer.headers, text)
    },

    async close(ms) {
      const all = [...pools.values()]
      pools.clear()
      const destroy = setTimeout(() => {
        for (const pool of all) void pool.destroy()
      }, ms)
      await Promise.allSettled(all.map((pool) => pool.close()))
      clearTimeout(destroy)
    },
  }
}

function bufferedResponse(
  url: string,
  status: number,
  raw: Record<string, string | string[] | undefined>,
  text: string,
): Response {
  const headers = new Map<string, string>()
  for (const [name, value] of Object.entries(raw)) {
    if (value !== undefined) headers.set(name, typeof value === 'string' ? value : value.join(', '))
  }
  const response = {
    url,
    status,
    ok: status >= 200 && status < 300,
    headers,
    body: null,
    text: async () => text,
    json: async () => JSON.parse(text) as unknown,
  }
  return response as unknown as Response
}
