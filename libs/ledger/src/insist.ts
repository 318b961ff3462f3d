import { AppError } from '@sluice/errors'
import { type Clock, fullJitter, sleep } from '@sluice/resilience'

const backoff = fullJitter({ baseMs: 100, capMs: 2_000 })

/**
 * Repeats an idempotent write while storage is away: it ends a claim, and an answer that was paid for hangs on it.
 * @throws the last error once `ms` milliseconds have passed, and every other error at once
 */
export async function insist<T>(clock: Clock, ms: number, write: () => Promise<T>): Promise<T> {
  const giveUpAt = clock.monotonic() + ms
  for (let attempt = 1; ; attempt++) {
    try {
      return await write()
    } catch (error) {
      const waitMs = backoff(attempt)
      const hopeless = !(error instanceof AppError) || error.code !== 'storage_unavailable'
      if (hopeless || clock.monotonic() + waitMs >= giveUpAt) throw error
      await sleep(waitMs, { clock })
    }
  }
}
