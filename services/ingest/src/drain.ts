import type { ServerResponse } from 'node:http'
import { AppError } from '@sluice/errors'
import { type Clock, sleep } from '@sluice/resilience'
import type { FastifyInstance } from 'fastify'

/**
 * How the door closes. While it drains it goes on listening, so that whoever comes hears "503, ask again in a moment"
 * (from another instance, once the balancer has noticed) instead of a refused connection, and what is under way goes on.
 */
export interface Drain {
  /** Aborts when the grace is over: open streams end with an honest error. */
  readonly closing: AbortSignal
  /** Answers under way, those that were refused left out. */
  readonly inFlight: number
  /** Counts and refuses on that application. */
  watch(app: FastifyInstance): void
  /**
   * Counts an answer until its connection or the answer ends.
   * @throws AppError `shutting_down`
   */
  enter(response: ServerResponse): void
  /** Refuses newcomers, waits for what is under way at most `graceMs`, then aborts `closing` and waits a moment more. */
  run(graceMs: number): Promise<void>
}

const lastWordsMs = 1_000
const lookEveryMs = 20

const stopping = () => new AppError('shutting_down', 'This instance is stopping.', { retryAfterMs: 1_000 })

export function createDrain(clock: Clock): Drain {
  const closing = new AbortController()
  // A number, not a Set: see ForwardWatch.
  const counted = { answers: 0 }
  let refusing = false

  // `close` also fires for an answer that its handler took over, and for a connection that broke.
  const count = (response: ServerResponse): void => {
    counted.answers++
    response.once('close', () => counted.answers--)
  }

  const emptied = async (withinMs: number): Promise<boolean> => {
    const until = clock.monotonic() + withinMs
    while (counted.answers > 0 && clock.monotonic() < until) await sleep(lookEveryMs, { clock })
    return counted.answers === 0
  }

  return {
    closing: closing.signal,
    get inFlight() {
      return counted.answers
    },
    watch(app) {
      app.addHook('onRequest', (request, reply, done) => {
        // Orchestrators go on asking, and readiness already says no.
        if (refusing && !/^\/(health|metrics)/.test(request.url)) {
          void reply.header('connection', 'close')
          return done(stopping())
        }
        count(reply.raw)
        return done()
      })
    },
    enter(response) {
      if (refusing) throw stopping()
      count(response)
    },
    async run(graceMs) {
      refusing = true
      if (await emptied(graceMs)) return
      closing.abort(stopping())
      await emptied(lastWordsMs)
    },
  }
}
