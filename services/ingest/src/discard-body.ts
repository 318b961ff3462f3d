import type { IncomingMessage } from 'node:http'

const maxBytes = 64 * 1024 * 1024
const maxMs = 5000

/**
 * Reads the rest of a body that will not be used, within bounds: a client that is still writing when the connection is
 * closed sees a broken pipe instead of the answer that tells it why.
 */
export function discardBody(request: IncomingMessage): Promise<void> {
  if (request.complete || request.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    let bytes = 0
    const done = () => {
      clearTimeout(timer)
      request.off('data', count).off('end', done).off('close', done).off('error', done)
      resolve()
    }
    const count = (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > maxBytes) done()
    }
    const timer = setTimeout(done, maxMs)
    request.on('data', count).on('end', done).on('close', done).on('error', done).resume()
  })
}
