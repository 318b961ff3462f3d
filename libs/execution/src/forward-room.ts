import type { Admission, Grant, ReserveInput } from '@sluice/admission'
import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import { limitsOf } from './forward-limits.ts'
import type { ForwardSink } from './forward-types.ts'

export interface WaitLimits {
  /** How long a call may wait for room. */
  waitMs: number
  /** Calls that may wait at a time: each keeps its body in memory. */
  waiters: number
}

export interface Waiting {
  /** Monotonic time at which waiting ends. */
  until: number
  waitedMs: number
  /** The shortest cool-down that a 429 of this request named. */
  coolMs: number
}

type Room =
  | Grant
  | { kind: 'never' }
  /** The caller has left. */
  | { kind: 'gone' }
  /** Not full but out of order: somebody else is worth asking at once. */
  | { kind: 'failing'; afterMs: number }

/** Waits for room where that is a matter of moments, and otherwise says for how long there is none. */
export function createWaitingRoom(options: { admission: Admission; clock: Clock; limits: WaitLimits }) {
  const { admission, clock, limits } = options
  /** Wakes each one that waits. */
  const waiters = new Set<() => void>()
  let closed: AppError | undefined

  const pause = (ms: number, sink: ForwardSink): Promise<void> =>
    new Promise((resolve) => {
      const over = () => {
        timer.cancel()
        waiters.delete(over)
        sink.onClose = undefined
        resolve()
      }
      const timer = clock.setTimeout(over, ms)
      waiters.add(over)
      sink.onClose = over
    })

  return {
    /** @throws AppError `no_capacity` or `rate_limited` with the exact wait, when it is longer than the caller's patience */
    async enter(ask: ReserveInput, sink: ForwardSink, waiting: Waiting): Promise<Room> {
      for (;;) {
        if (sink.closed) return { kind: 'gone' }
        const room = await admission.reserve(ask)
        if (room.kind === 'granted' && sink.closed) {
          room.end({ outcome: 'aborted', ms: 0 })
          return { kind: 'gone' }
        }
        if (room.kind !== 'later') return room
        sink.limits = room.tenantLeft === undefined ? undefined : limitsOf(room.tenantLeft, { shares: ask.tenant })
        if (room.reason === 'breaker' || room.reason === 'drained') return { kind: 'failing', afterMs: room.afterMs }
        await this.wait(room.afterMs, room.reason === 'tenant', sink, waiting)
      }
    },

    /** @throws AppError as `enter` does */
    async wait(afterMs: number, tenantIsFull: boolean, sink: ForwardSink, waiting: Waiting): Promise<void> {
      const now = clock.monotonic()
      if (closed !== undefined) throw closed
      if (now + afterMs > waiting.until || waiters.size >= limits.waiters) throw full(afterMs, tenantIsFull)
      await pause(Math.max(1, afterMs), sink)
      waiting.waitedMs += clock.monotonic() - now
      if (closed !== undefined) throw closed
    },

    /** Everybody who waits gives up with that error, and so does everybody who would. */
    close(error: AppError): void {
      closed = error
      for (const over of waiters) over()
    },
  }
}

function full(afterMs: number, tenantIsFull: boolean): AppError {
  const retryAfterMs = Math.max(1, Math.ceil(afterMs))
  const seconds = Math.ceil(retryAfterMs / 1000)
  return tenantIsFull
    ? new AppError('rate_limited', `Rate limit reached. Please try again in ${seconds}s.`, { retryAfterMs })
    : new AppError('no_capacity', `Every deployment that may answer is full. Please try again in ${seconds}s.`, {
        retryAfterMs,
      })
}
