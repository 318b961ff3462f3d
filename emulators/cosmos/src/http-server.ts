import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { CosmosError, tooLarge } from './cosmos-error.ts'
import type { CosmosReply, CosmosRequest } from './protocol/exchange.ts'
import { parseResourcePath } from './protocol/resource-path.ts'

// A batch of 100 operations may carry 2 MiB; JSON escapes can double that. What exceeds it is read and dropped, so that the
// client gets its 413 instead of a broken pipe, up to a bound.
const keptBytes = 5 * 1024 * 1024
const drainedBytes = 64 * 1024 * 1024

export interface HttpHandlers {
  /** Answers one request, throwing CosmosError; must not defer. */
  handle(request: CosmosRequest): CosmosReply
  /** Runs the callback once what the request read and wrote is committed. */
  afterCommit(release: (error?: Error) => void): void
  /** May answer, delay or break a request before it is handled; true when it took the request over. */
  intercept(request: CosmosRequest, response: ServerResponse, proceed: () => void): boolean
  onError(error: unknown): void
  nowMs(): number
}

export const send = (response: ServerResponse, reply: CosmosReply, activityId: string): void => {
  if (response.destroyed) return
  const headers: Record<string, string | number> = {
    ...reply.headers,
    'content-type': 'application/json',
    'x-ms-activity-id': activityId,
    'x-ms-request-charge': reply.charge.toFixed(2),
    'x-ms-gatewayversion': 'version=2.0.0',
  }
  const hasBody = reply.status !== 204 && reply.status !== 304
  if (hasBody) headers['content-length'] = Buffer.byteLength(reply.body)
  response.writeHead(reply.status, headers)
  response.end(hasBody ? reply.body : undefined)
}

/** An error as a reply; anything but a CosmosError is our own fault and a 500 without details. */
export const errorReply = (error: unknown, activityId: string, uri: string): CosmosReply => {
  const known =
    error instanceof CosmosError
      ? error
      : new CosmosError(500, 'Unknown server error occurred when processing this request.')
  const headers = { ...known.headers, ...(known.substatus === 0 ? {} : { 'x-ms-substatus': String(known.substatus) }) }
  return { status: known.status, headers, body: known.body(activityId, uri), charge: 1 }
}

const serve = (
  handlers: HttpHandlers,
  incoming: IncomingMessage,
  response: ServerResponse,
  body: Buffer | undefined,
): void => {
  const uri = incoming.url ?? '/'
  const activityId = randomUUID()
  let reply: CosmosReply
  const finish = (): void =>
    handlers.afterCommit((error) => {
      if (error !== undefined) handlers.onError(error)
      const committed =
        error === undefined
          ? reply
          : errorReply(new CosmosError(503, 'The write could not be committed.'), activityId, uri)
      send(response, committed, activityId)
    })
  try {
    if (body === undefined) throw tooLarge()
    const request: CosmosRequest = {
      method: incoming.method ?? 'GET',
      path: parseResourcePath(uri),
      headers: incoming.headers,
      body: body.toString(),
      nowMs: handlers.nowMs(),
    }
    const proceed = (): void => {
      try {
        reply = handlers.handle(request)
      } catch (error) {
        if (!(error instanceof CosmosError)) handlers.onError(error)
        reply = errorReply(error, activityId, uri)
      }
      finish()
    }
    if (!handlers.intercept(request, response, proceed)) proceed()
  } catch (error) {
    reply = errorReply(error, activityId, uri)
    finish()
  }
}

/** A server that collects each request's body and hands it over whole. */
export const createHttpServer = (handlers: HttpHandlers): Server =>
  createServer({ keepAliveTimeout: 60_000, noDelay: true }, (incoming, response) => {
    const chunks: Buffer[] = []
    let length = 0
    incoming.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length <= keptBytes) chunks.push(chunk)
      else chunks.length = 0
      if (length > drainedBytes) incoming.destroy()
    })
    incoming.on('end', () =>
      serve(handlers, incoming, response, length > keptBytes ? undefined : Buffer.concat(chunks)),
    )
    incoming.on('error', () => response.destroy())
  })
