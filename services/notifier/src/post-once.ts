import type { Bag, Placed } from '@sluice/messaging'
import type { Clock } from '@sluice/resilience'
import type { Dispatcher } from 'undici'

/** How an answer began. */
export interface Answer {
  status: number
  retryAfter: string | undefined
  /** The body's beginning, up to the bound. */
  excerpt: Buffer
}

export interface PostInput {
  origin: string
  path: string
  headers: Record<string, string>
  body: Buffer
  /** From connecting to the answer's status. */
  timeoutMs: number
  /** What the call fails with when there is no status by then. */
  late: () => Error
  /** Bytes of the answer that are kept, and that are read at most. */
  keepBytes: number
  readBytes: number
  /** How long the body may take once the status is known. */
  bodyMs: number
  clock: Clock
}

/** A call under way. */
export interface Call extends Placed {
  /** Ends it; one that has an answer keeps it. */
  cutShort(reason: Error): void
}

type Handler = Dispatcher.DispatchHandler
type Controller = Parameters<NonNullable<Handler['onRequestStart']>>[0]

const enough = new Error('enough of the answer')
const none = Buffer.alloc(0)

/**
 * One POST at undici's lowest level: no streams, no copies, no signal of its own, and of the answer no more than is
 * wanted. Once the status is known it counts, whatever becomes of the body.
 * @param underWay holds the call while it lasts, for whoever ends them all
 * @throws `late()`, the reason of whoever cut it short, or what undici says of a call without an answer
 */
export function postOnce(dispatcher: Dispatcher, input: PostInput, underWay: Bag<Call>): Promise<Answer> {
  const { origin, path, headers, body, keepBytes, readBytes, clock } = input
  return new Promise((resolve, reject) => {
    let answer: Answer | undefined
    let controller: Controller | undefined
    let cause: Error | undefined
    let read = 0
    const end = (error?: Error) => {
      underWay.delete(call)
      timer.cancel()
      if (answer !== undefined) resolve(answer)
      else reject(cause ?? error ?? new Error('the answer has no status'))
    }
    const cutShort = (reason: Error) => {
      cause ??= reason
      controller?.abort(reason)
      // Also where undici has not begun: it may still be connecting.
      end()
    }
    const handler: Handler = {
      onRequestStart(started) {
        controller = started
        if (cause !== undefined) started.abort(cause)
      },
      onResponseStart(current, status, fields) {
        // An informational answer is followed by the one that counts.
        if (status < 200) return
        const retryAfter = fields['retry-after']
        answer = { status, retryAfter: typeof retryAfter === 'string' ? retryAfter : undefined, excerpt: none }
        timer.cancel()
        timer = clock.setTimeout(() => current.abort(enough), input.bodyMs)
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
    const call: Call = { cutShort, place: -1 }
    let timer = clock.setTimeout(() => cutShort(input.late()), input.timeoutMs)
    underWay.add(call)
    try {
      dispatcher.dispatch({ origin, path, method: 'POST', headers, body }, handler)
    } catch (error) {
      end(error as Error)
    }
  })
}
