import { type Clock, systemClock } from './clock.ts'

/**
 * Runs `fn` with a signal that aborts when `ms` milliseconds have passed or when `signal` aborts. The promise settles
 * at that moment even when `fn` ignores its signal; what `fn` answers later is dropped.
 * @throws `onTimeout()` at the deadline, the reason of `signal` when it aborts, else whatever `fn` throws
 */
export async function withDeadline<T>(
  ms: number,
  signal: AbortSignal | undefined,
  fn: (signal: AbortSignal) => Promise<T>,
  onTimeout: () => Error,
  clock: Clock = systemClock,
): Promise<T> {
  signal?.throwIfAborted()
  const controller = new AbortController()
  const aborted = Promise.withResolvers<never>()
  const abort = (reason: unknown) => {
    controller.abort(reason)
    aborted.reject(reason)
  }
  const onAbort = () => abort(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  const timer = clock.setTimeout(() => abort(onTimeout()), ms)
  try {
    return await Promise.race([fn(controller.signal), aborted.promise])
  } finally {
    timer.cancel()
    signal?.removeEventListener('abort', onAbort)
  }
}
