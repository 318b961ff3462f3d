import type { CosmosClientOptions } from '@azure/cosmos'
import { createHttpHeaders } from '@azure/core-rest-pipeline'
import { Agent, errors } from 'undici'

type HttpClient = NonNullable<CosmosClientOptions['httpClient']>

/**
 * The SDK's HTTP on undici instead of node:https: a third less CPU per operation (170 µs against 240 µs, 1 KiB rows),
 * and Cosmos operations are most of what the pipeline does per request.
 */
export function createCosmosHttpClient(): { httpClient: HttpClient; close(): Promise<void> } {
  const agent = new Agent({ connections: 64, keepAliveTimeout: 30_000, connect: { timeout: 5_000 } })
  const httpClient: HttpClient = {
    async sendRequest(request) {
      const { origin, pathname, search } = new URL(request.url)
      try {
        const response = await agent.request({
          origin,
          path: pathname + search,
          method: request.method,
          headers: request.headers.toJSON(),
          // The SDK sends text only; its type also allows form data and streams.
          body: (request.body as string | undefined) ?? null,
          // An AbortSignal in Node; the SDK's own type is a subset of it.
          signal: request.abortSignal as AbortSignal,
        })
        const bodyAsText = await response.body.text()
        const headers = createHttpHeaders(response.headers as Record<string, string>)
        return { request, status: response.statusCode, headers, bodyAsText }
      } catch (error) {
        throw error instanceof errors.SocketError ? reset(error) : error
      }
    },
  }
  return { httpClient, close: () => agent.destroy() }
}

// The SDK retries reads on the socket codes that node:http uses, and knows none of undici's.
const reset = (cause: Error) => Object.assign(new Error(cause.message, { cause }), { code: 'ECONNRESET' })
