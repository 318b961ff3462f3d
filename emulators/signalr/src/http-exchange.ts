import type { IncomingMessage, ServerResponse } from 'node:http'

import { UnauthorizedError } from './access-tokens.ts'
import type { Fault } from './faults.ts'

/** An answer other than success: the service's ErrorDetail body, and its code in x-ms-error-code where there is one. */
export class HttpError extends Error {
  override readonly name = 'HttpError'
  readonly status: number
  readonly code: string
  readonly headers: Record<string, string>

  constructor(status: number, code: string, message: string, headers: Record<string, string> = {}) {
    super(message)
    this.status = status
    this.code = code
    this.headers = headers
  }
}

export const throttled = (fault: Fault & { type: 'throttle' }): HttpError =>
  new HttpError(
    fault.status,
    fault.status === 429 ? 'TooManyRequests' : 'ServiceUnavailable',
    'The request was throttled.',
    fault.retryAfterSeconds === undefined ? {} : { 'retry-after': String(fault.retryAfterSeconds) },
  )

export function toHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error
  if (error instanceof UnauthorizedError) {
    return new HttpError(401, 'Unauthorized', error.message, { 'www-authenticate': error.challenge })
  }
  return new HttpError(500, 'InternalServerError', error instanceof Error ? error.message : String(error))
}

export function sendError(
  request: IncomingMessage,
  response: ServerResponse,
  { status, code, message, headers }: HttpError,
): void {
  if (response.headersSent) return void response.destroy()
  const body = JSON.stringify({ code, message })
  // A body that was not read to its end would be taken for the next request of the connection.
  const unread = request.complete ? {} : { connection: 'close' }
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'x-ms-error-code': code,
    'content-length': Buffer.byteLength(body),
    ...unread,
    ...headers,
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = JSON.stringify(value)
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
  })
  response.end(body)
}

/** The whole body. Throws HttpError 413 past the limit, also when the declared length already passes it. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const tooLarge = () => new HttpError(413, 'PayloadTooLarge', `The body is larger than ${maxBytes} bytes.`)
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge()
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > maxBytes) throw tooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** The path's segments, decoded; undefined when one is malformed. */
export function decodeSegments(path: string): string[] | undefined {
  try {
    return path.split('/').slice(1).map(decodeURIComponent)
  } catch {
    return undefined
  }
}

export const bearerToken = (request: IncomingMessage): string | undefined =>
  /^Bearer\s+(\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
