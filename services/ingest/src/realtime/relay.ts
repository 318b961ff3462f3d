import type { Clock } from '@sluice/resilience'
import { WebSocket } from 'ws'

/** An event as it travelled; text frames are JSON, binary ones are passed on unread. */
export type Frame = { data: Buffer; isBinary: boolean }

export interface RelayOptions {
  client: WebSocket
  upstream: WebSocket
  /** What the client sent before the upstream was there. */
  held: readonly Frame[]
  /** Neither side said anything for this long: the session ends. */
  idleMs: number
  onUpstreamEvent: (frame: Frame) => void
  /** Called once, when both sides are closed or closing. */
  onEnd: (why: 'client' | 'upstream' | 'idle') => void
  clock: Clock
}

// Above it a sender is paused until its receiver has taken half of what is pending: speech is 48 KB/s, so this is
// seconds of it, and a slow side costs no more memory than that.
const highWaterBytes = 1024 * 1024

/**
 * Connects both sides of a realtime session: every frame in order, a slow receiver pauses its sender, the end of one
 * side is the end of the other with the same code.
 * @returns ends the session from here with an `error` event to the client
 */
export function relay(options: RelayOptions): (code: number, error: object) => void {
  const { client, upstream, clock, idleMs } = options
  let ended = false
  let heardAt = clock.monotonic()
  const idle = { timer: clock.setTimeout(look, idleMs) }

  function look(): void {
    const quietMs = clock.monotonic() - heardAt
    if (quietMs < idleMs) {
      idle.timer = clock.setTimeout(look, idleMs - quietMs)
      return
    }
    sendError(client, { type: 'invalid_request_error', code: 'session_idle', message: idleMessage(idleMs) })
    end('idle', 1000, 'idle')
  }

  function end(why: 'client' | 'upstream' | 'idle', code: number, reason: string): void {
    if (ended) return
    ended = true
    idle.timer.cancel()
    close(client, code, reason)
    close(upstream, code, reason)
    options.onEnd(why)
  }

  const connect = (from: WebSocket, to: WebSocket, seen?: (frame: Frame) => void) => {
    let pending = 0
    const pass = (frame: Frame) => {
      heardAt = clock.monotonic()
      seen?.(frame)
      if (to.readyState !== WebSocket.OPEN) return
      const bytes = frame.data.byteLength
      pending += bytes
      if (pending > highWaterBytes) from.pause()
      to.send(frame.data, { binary: frame.isBinary }, () => {
        pending -= bytes
        if (from.isPaused && pending <= highWaterBytes / 2) from.resume()
      })
    }
    from.on('message', (data: Buffer, isBinary) => pass({ data, isBinary }))
    return pass
  }
  const toUpstream = connect(client, upstream)
  connect(upstream, client, options.onUpstreamEvent)
  client.on('close', (code, reason) => end('client', code, reason.toString()))
  upstream.on('close', (code, reason) => end('upstream', code, reason.toString()))
  // An error is always followed by `close`.
  client.on('error', () => {})
  upstream.on('error', () => {})
  for (const frame of options.held) toUpstream(frame)

  return (code, error) => {
    sendError(client, error)
    end('upstream', code, '')
  }
}

/** An event of type `error`, which clients of the protocol already handle. */
export function sendError(socket: WebSocket, error: object): void {
  if (socket.readyState !== WebSocket.OPEN) return
  socket.send(JSON.stringify({ type: 'error', event_id: `event_${crypto.randomUUID()}`, error }))
}

const closeDeadlineMs = 5_000

/** Closes with the code that the other side gave, where a program may send that one, and cuts what does not answer. */
function close(socket: WebSocket, code: number, reason: string): void {
  if (socket.readyState === WebSocket.CONNECTING) return socket.terminate()
  // 1004 to 1006 and 1015 are never sent: they only tell a program what it noticed itself.
  const sendable = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999)
  const given = sendable ? code : 1011
  // The protocol allows 123 bytes.
  socket.close(
    given,
    Buffer.from(reason)
      .subarray(0, 120)
      .toString('utf8')
      .replace(/\uFFFD+$/, ''),
  )
  socket.resume()
  const cut = setTimeout(() => socket.terminate(), closeDeadlineMs)
  socket.once('close', () => clearTimeout(cut))
}

const idleMessage = (ms: number) => `The session was closed after ${Math.round(ms / 1000)} seconds without an event.`
