import type { Clock, Timer } from '@sluice/resilience'
import type { Dispatcher } from 'undici'

/** How an answer began. */
export interface Answer {
  status: number
  retryAfter: string | undefined
  /** The body's beginning, up to the bound. */
  excerpt: Buffer
}

export interface PostInput {
  url: URL
  headers: Record<string, string>
  body: string
  /** Bytes of the answer that are kept, and that are read at most. */
  keepBytes: number
  readBytes: number
  /** How long the body may take once the status is known. */
  bodyMs: number
  clock: Clock
}

type Handler = Dispatcher.DispatchHandler
type Controller = Parameters<NonNullable<Handler['onResponseStart']>>[0]

const enough = new Error('enough of the answer')

/**
 * One POST at undici's lowest level: no streams, no copies, and of the answer no more than is wanted. Once the status is
 * known it counts, whatever becomes of the body.
 * @throws what undici says of a call without an answer; the call is aborted with the signal
 */
export function postOnce(dispatcher: Dispatcher, input: PostInput, signal: AbortSignal): Promise<Answer> {
  const { url, headers, body, keepBytes, readBytes, bodyMs, clock } = input
  return new Promise((resolve, reject) => {
    let answer: Answer | undefined
    let controller: Controller | undefined
    let timer: Timer | undefined
    let read = 0
    const onAbort = () => controller?.abort(signal.reason as Error)
    const end = (error?: Error) => {
      signal.removeEventListener('abort', onAbort)
      timer?.cancel()
      if (answer !== undefined) resolve(answer)
      else reject(error ?? new Error('the answer has no status'))
    }
    const handler: Handler = {
      onRequestStart(started) {
        controller = started
        if (signal.aborted) onAbort()
      },
      onResponseStart(current, status, fields) {
        // An informational answer is followed by the one that counts.
        if (status < 200) return
        const retryAfter = fields['retry-after']
        answer = {
          status,
          retryAfter: typeof retryAfter === 'string' ? retryAfter : undefined,
          excerpt: Buffer.alloc(0),
        }
        timer = clock.setTimeout(() => current.abort(enough), bodyMs)
      },
      onResponseData(current, chunk) {
        if (answer === undefined) return
        const room = keepBytes - answer.excerpt.length
        if (room > 0) answer.excerpt = Buffer.concat([answer.excerpt, chunk.subarray(0, room)])
        read += chunk.length
        // Aborting closes the connection of a receiver that will not stop talking.
        if (read > readBytes) current.abort(enough)
      },
      onResponseEnd: () => end(),
      onResponseError: (_, error) => end(error),
    }
    signal.addEventListener('abort', onAbort, { once: true })
    dispatcher.dispatch({ origin: url.origin, path: url.pathname + url.search, method: 'POST', headers, body }, handler)
  })
}
