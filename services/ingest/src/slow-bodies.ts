import type { IncomingMessage, Server } from 'node:http'
import { AppError, openAIErrorBody } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'

const lookEveryMs = 1_000

/**
 * Ends requests whose bodies take too long, so that a client that dribbles cannot hold a connection for as long as an
 * honest upload may: uploads are read as they come, have no length to wait for, and are left to the server's own limits.
 * Bodies are looked at once a second instead of timed one by one; nearly all are complete before the first look.
 * @returns stops it
 */
export function refuseSlowBodies(server: Server, bodyMs: number, clock: Clock): () => void {
  const open = new Map<IncomingMessage, number>()
  server.prependListener('request', (request: IncomingMessage) => {
    if (hasBody(request) && !isUpload(request)) open.set(request, clock.monotonic())
  })
  const timer = setInterval(() => {
    const now = clock.monotonic()
    for (const [request, since] of open) {
      const over = request.complete || request.destroyed
      if (!over && now - since < bodyMs) continue
      open.delete(request)
      if (!over) refuse(request, bodyMs)
    }
  }, lookEveryMs)
  timer.unref()
  return () => clearInterval(timer)
}

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'

const isUpload = ({ headers }: IncomingMessage): boolean =>
  /^(multipart\/form-data|application\/(x-ndjson|jsonl))/i.test(headers['content-type'] ?? '')

// Written past the framework: whoever reads the body sees its connection end, and has nobody to answer.
function refuse({ socket }: IncomingMessage, bodyMs: number): void {
  const text = `The body did not arrive within ${bodyMs} ms.`
  const body = JSON.stringify(openAIErrorBody(new AppError('deadline_exceeded', text, { param: 'body' })))
  const head = ['HTTP/1.1 408 Request Timeout', 'connection: close', 'content-type: application/json']
  socket.end(`${[...head, `content-length: ${Buffer.byteLength(body)}`].join('\r\n')}\r\n\r\n${body}`)
  socket.destroySoon()
}
