import type { ServerResponse } from 'node:http'

import type { Transport } from './transport.ts'

export type LongPollingTransport = Transport & {
  /** Answers with what is queued, or as soon as something is; after `end`, 204 tells the client that it is over. */
  poll(response: ServerResponse): void
}

/** Queues messages between polls. The client's first poll is answered at once and empty: it only opens the connection. */
export function createLongPollingTransport(
  pollTimeoutMs: number,
  now: () => number,
  onEnded: () => void,
): LongPollingTransport {
  let queue: Buffer[] = []
  let queuedBytes = 0
  let isBinaryQueue = false
  let state: 'opening' | 'open' | 'ending' | 'ended' = 'opening'
  let waiting: { response: ServerResponse; timer: NodeJS.Timeout } | undefined
  let lastPoll = now()

  const answer = (response: ServerResponse, status: 200 | 204, body?: Buffer): void => {
    lastPoll = now()
    response.writeHead(status, {
      'cache-control': 'no-cache, no-store',
      ...(status === 204
        ? {}
        : {
            'content-type': isBinaryQueue ? 'application/octet-stream' : 'text/plain',
            'content-length': body?.length ?? 0,
          }),
    })
    response.end(body)
  }

  const release = (): ServerResponse | undefined => {
    const response = waiting?.response
    clearTimeout(waiting?.timer)
    waiting = undefined
    return response
  }

  const flush = (): void => {
    if (queue.length > 0) {
      const response = release()
      if (!response) return
      const body = Buffer.concat(queue)
      queue = []
      queuedBytes = 0
      answer(response, 200, body)
    } else if (state === 'ending' || state === 'ended') {
      const response = release()
      if (!response) return
      state = 'ended'
      answer(response, 204)
      onEnded()
    }
  }

  return {
    kind: 'LongPolling',
    supportsBinary: true,
    bufferedBytes: () => queuedBytes,
    lastSeen: () => (waiting ? now() : lastPoll),
    send(bytes, isBinary) {
      if (state === 'ending' || state === 'ended') return
      isBinaryQueue ||= isBinary
      queue.push(bytes)
      queuedBytes += bytes.length
      flush()
    },
    end() {
      if (state === 'ended') return
      state = 'ending'
      flush()
    },
    destroy() {
      state = 'ended'
      queue = []
      queuedBytes = 0
      release()?.destroy()
      onEnded()
    },
    poll(response) {
      // The client polls one at a time: an older poll belongs to a request that it gave up.
      const older = release()
      if (older) answer(older, 200)
      if (state === 'opening') {
        state = 'open'
        return answer(response, 200)
      }
      lastPoll = now()
      const timer = setTimeout(() => {
        if (release()) answer(response, 200)
      }, pollTimeoutMs)
      timer.unref()
      waiting = { response, timer }
      response.once('close', () => {
        if (waiting?.response === response) release()
      })
      flush()
    },
  }
}
