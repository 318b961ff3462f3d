import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'

interface HandlerLimits {
  deadlineMs: number
  clock: Clock
  /** Each aborts the handler with its own reason. */
  abortedBy: readonly AbortSignal[]
}

/**
 * Runs a handler under a signal that aborts with the reason of whichever comes first: its deadline
 * (`deadline_exceeded`), the loss of its lock (`lock_lost`), the end of a drain (`shutting_down`). The handler is awaited
 * to its end even then: only it knows when its work no longer touches anything.
 */
export async function runHandler<T>(
  handler: (signal: AbortSignal) => Promise<T>,
  { deadlineMs, clock, abortedBy }: HandlerLimits,
): Promise<T> {
  const controller = new AbortController()
  // Not AbortSignal.any: the loop's own signal lives as long as the process, and would collect a dependant a delivery.
  const onAbort = (event: Event) => controller.abort((event.target as AbortSignal).reason)
  for (const signal of abortedBy) signal.addEventListener('abort', onAbort)
  const overrun = () => controller.abort(new AppError('deadline_exceeded', 'the handler overran its deadline'))
  const timer = clock.setTimeout(overrun, deadlineMs)
  try {
    return await handler(controller.signal)
  } finally {
    timer.cancel()
    for (const signal of abortedBy) signal.removeEventListener('abort', onAbort)
  }
}
