import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { AppError, openAIErrorBody } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'

const lookEveryMs = 1_000

export interface BodyPace {
  /** How long a body that is not an upload may take. */
  bodyTimeoutMs: number
  /** The least that an upload brings, on average of each such time. */
  uploadBytesPerSecond: number
}

// Below it a sweep is not worth its while.
const leastSwept = 32

interface Open {
  request: IncomingMessage
  response: ServerResponse
  upload: boolean
  since: number
  bytesBefore: number
}

/**
 * Ends requests whose bodies take too long, so that a client that dribbles cannot hold a connection for ever. A JSON body
 * has its time from its beginning to its end; an upload, which may be of any size, has to keep its pace in each such time,
 * unless it is us who do not read. Bodies are looked at once a second instead of timed one by one: nearly all are
 * complete before the first look.
 * @returns stops it
 */
export function refuseSlowBodies(server: Server, pace: BodyPace, clock: Clock): () => void {
  const { bodyTimeoutMs: bodyMs, uploadBytesPerSecond } = pace
  const open: Open[] = []
  let sweepAt = leastSwept
  // Requests that were read are let go soon: kept until the next look, everything that belongs to them would grow old.
  const sweep = () => {
    let kept = 0
    for (const one of open) {
      if (!one.request.complete && !one.request.destroyed) open[kept++] = one
    }
    open.length = kept
    sweepAt = Math.max(leastSwept, 2 * kept)
  }
  server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    if (!hasBody(request)) return
    if (open.length >= sweepAt) sweep()
    const bytesBefore = request.socket.bytesRead
    open.push({ request, response, upload: isUpload(request), since: clock.monotonic(), bytesBefore })
  })
  const timer = setInterval(() => {
    const now = clock.monotonic()
    sweep()
    for (const state of open) {
      const { request } = state
      if (now - state.since < bodyMs) continue
      if (state.upload && keepsPace(request, state, ((now - state.since) * uploadBytesPerSecond) / 1_000)) {
        state.since = now
        state.bytesBefore = request.socket.bytesRead
      } else {
        refuse(request, state, bodyMs)
        // Once: its connection ends when the answer is out.
        state.since = Number.POSITIVE_INFINITY
      }
    }
  }, lookEveryMs)
  timer.unref()
  return () => clearInterval(timer)
}

const keepsPace = ({ readableLength, socket }: IncomingMessage, { bytesBefore }: Open, least: number): boolean =>
  readableLength > 0 || socket.bytesRead - bytesBefore >= least

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'

const isUpload = ({ headers }: IncomingMessage): boolean =>
  /^(multipart\/form-data|application\/(x-ndjson|jsonl))/i.test(headers['content-type'] ?? '')

// Written past the framework: whoever reads the body sees its connection end, and has nobody to answer.
function refuse({ socket }: IncomingMessage, { response, upload }: Open, bodyMs: number): void {
  // An answer that has begun cannot be followed by another.
  if (response.headersSent) return void socket.destroy()
  const text = upload ? 'The upload is too slow.' : `The body did not arrive within ${bodyMs} ms.`
  const body = JSON.stringify(openAIErrorBody(new AppError('deadline_exceeded', text, { param: 'body' })))
  const head = ['HTTP/1.1 408 Request Timeout', 'connection: close', 'content-type: application/json']
  socket.end(`${[...head, `content-length: ${Buffer.byteLength(body)}`].join('\r\n')}\r\n\r\n${body}`)
  socket.destroySoon()
}
