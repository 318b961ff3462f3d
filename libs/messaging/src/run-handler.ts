import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import type { Bag, Placed } from './bag.ts'
import type { HeldLock } from './held-lock.ts'

export interface RunningHandler extends Placed {
  controller: AbortController
}

interface HandlerLimits {
  lock: HeldLock
  deadlineMs: number
  clock: Clock
  /** Holds the running handlers, for whoever ends them all. */
  running: Bag<RunningHandler>
}

/**
 * Runs a handler under a signal that aborts with the reason of whichever comes first: its deadline
 * (`deadline_exceeded`), the loss of its lock (`lock_lost`), or whatever aborts all that are `running`. The handler is
 * awaited to its end even then: only it knows when its work no longer touches anything.
 */
export async function runHandler<T>(
  handler: (signal: AbortSignal) => Promise<T>,
  { lock, deadlineMs, clock, running }: HandlerLimits,
): Promise<T> {
  const controller = new AbortController()
  const overrun = () => controller.abort(new AppError('deadline_exceeded', 'the handler overran its deadline'))
  const timer = clock.setTimeout(overrun, deadlineMs)
  const self: RunningHandler = { controller, place: -1 }
  running.add(self)
  lock.onLost = (error) => controller.abort(error)
  try {
    return await handler(controller.signal)
  } finally {
    lock.onLost = undefined
    timer.cancel()
    running.delete(self)
  }
}
