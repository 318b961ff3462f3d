import type { Clock } from '@sluice/resilience'
import type { Redis } from 'ioredis'
import { decodeEntry, type ProgressEntry } from './progress-entry.ts'
import type { WakeCalls } from './wake-calls.ts'

interface ReadInput {
  redis: Redis
  wakeCalls: WakeCalls
  key: string
  lastId: string
  clock: Clock
  signal: AbortSignal
}

const pageSize = 200
/** A wake call that was lost costs its reader this long. */
const lookAgainMs = 2_000

/** The entries of one stream after `lastId`, as they come, up to `finished`. */
export async function* readStream({
  redis,
  wakeCalls,
  key,
  lastId,
  clock,
  signal,
}: ReadInput): AsyncGenerator<{ streamId: string; entry: ProgressEntry }> {
  let called = false
  let wake = () => {}
  const call = () => {
    called = true
    wake()
  }
  // Listens before the first look, so that nothing falls between the two.
  const stop = wakeCalls.listen(key, call)
  signal.addEventListener('abort', call, { once: true })
  let last = lastId
  try {
    while (!signal.aborted) {
      called = false
      const page = await redis.xrange(key, `(${last}`, '+', 'COUNT', pageSize).catch(() => [])
      for (const [streamId, fields] of page) {
        last = streamId
        const entry = decodeEntry(fields)
        if (entry === undefined) continue
        yield { streamId, entry }
        if (entry.kind === 'finished' || signal.aborted) return
      }
      if (called || page.length === pageSize) continue
      await new Promise<void>((resolve) => {
        const timer = clock.setTimeout(resolve, lookAgainMs)
        wake = () => {
          timer.cancel()
          resolve()
        }
      })
    }
  } finally {
    stop()
    signal.removeEventListener('abort', call)
  }
}
