import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { CosmosError, tooLarge } from './cosmos-error.ts'
import type { CosmosReply, CosmosRequest } from './protocol/exchange.ts'
import type { Fault } from './protocol/faults.ts'
import { requestRateTooLarge } from './protocol/request-unit-budget.ts'
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
  /** The fault to inflict on a request, if any. */
  faultFor(request: CosmosRequest, url: string): Fault | undefined
  onError(error: unknown): void
  nowMs(): number
}

const send = (response: ServerResponse, reply: CosmosReply, activityId: string): void => {
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
const errorReply = (error: unknown, activityId: string, uri: string): CosmosReply => {
  const known =
    error instanceof CosmosError
      ? error
      : new CosmosError(500, 'Unknown server error occurred when processing this request.')
  const headers = { ...known.headers, ...(known.substatus === 0 ? {} : { 'x-ms-substatus': String(known.substatus) }) }
  return { status: known.status, headers, body: known.body(activityId, uri), charge: 1 }
}

/** One request from its complete body to its reply. */
class Exchange {
  readonly #handlers: HttpHandlers
  readonly #response: ServerResponse
  readonly #uri: string
  readonly #activityId = randomUUID()

  constructor(handlers: HttpHandlers, response: ServerResponse, uri: string) {
    this.#handlers = handlers
    this.#response = response
    this.#uri = uri
  }

  fail(error: unknown): void {
    send(this.#response, errorReply(error, this.#activityId, this.#uri), this.#activityId)
  }

  run(request: CosmosRequest): void {
    const fault = this.#handlers.faultFor(request, this.#uri)
    switch (fault?.type) {
      case 'throttle':
        this.fail(requestRateTooLarge(fault.retryAfterMs ?? 10))
        break
      case 'unavailable':
        this.fail(new CosmosError(503, 'Service is currently unavailable. Please retry the request.'))
        break
      case 'delay': {
        const timer = setTimeout(() => this.#handle(request, false), fault.delayMs ?? 0)
        this.#response.once('close', () => clearTimeout(timer))
        break
      }
      case 'drop':
        if (fault.phase === 'response') this.#handle(request, true)
        else this.#response.destroy()
        break
      case 'refuse':
      case undefined:
        this.#handle(request, false)
        break
    }
  }

  #handle(request: CosmosRequest, dropReply: boolean): void {
    let reply: CosmosReply
    try {
      reply = this.#handlers.handle(request)
    } catch (error) {
      if (!(error instanceof CosmosError)) this.#handlers.onError(error)
      reply = errorReply(error, this.#activityId, this.#uri)
    }
    this.#handlers.afterCommit((error) => {
      if (error !== undefined) {
        this.#handlers.onError(error)
        this.fail(new CosmosError(503, 'The write could not be committed.'))
      } else if (dropReply) this.#response.destroy()
      else send(this.#response, reply, this.#activityId)
    })
  }
}

const serve = (
  handlers: HttpHandlers,
  incoming: IncomingMessage,
  response: ServerResponse,
  body: Buffer | undefined,
): void => {
  const uri = incoming.url ?? '/'
  const exchange = new Exchange(handlers, response, uri)
  if (body === undefined) {
    exchange.fail(tooLarge())
    return
  }
  exchange.run({
    method: incoming.method ?? 'GET',
    path: parseResourcePath(uri),
    headers: incoming.headers,
    body: body.toString(),
    nowMs: handlers.nowMs(),
  })
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
