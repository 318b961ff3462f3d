import { type Clock, systemClock } from './clock.ts'

/**
 * Runs `fn` with a signal that aborts when `ms` milliseconds have passed or when `signal` aborts. The promise settles
 * at that moment even when `fn` ignores its signal; what `fn` answers later is dropped.
 * @throws `onTimeout()` at the deadline, the reason of `signal` when it aborts, else whatever `fn` throws
 */
export function withDeadline<T>(
  ms: number,
  signal: AbortSignal | undefined,
  fn: (signal: AbortSignal) => Promise<T>,
  onTimeout: () => Error,
  clock: Clock = systemClock,
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason as Error)
    // A function without a parameter looks at no signal. Making one costs more than everything else in here, and this
    // stands around each round trip to Redis.
    const controller = fn.length === 0 ? undefined : new AbortController()
    const end = () => {
      timer.cancel()
      signal?.removeEventListener('abort', onAbort)
    }
    const abort = (reason: Error) => {
      end()
      controller?.abort(reason)
      reject(reason)
    }
    const onAbort = () => abort(signal?.reason as Error)
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer = clock.setTimeout(() => abort(onTimeout()), ms)
    const run = async () => fn(controller?.signal as AbortSignal)
    void run().then(resolve, reject).finally(end)
  })
}
