import type { Clock } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'

/** Farther off than this and a worker no longer expires requests by its own clock. */
const toleratedMs = 2000

/**
 * Watches how far this machine's clock is from Redis', the one that all workers share.
 * @returns whether the clock may be trusted, and a stop.
 */
export function watchClockSkew(deps: {
  redis: { time(): Promise<(string | number)[]> }
  clock: Clock
  logger: Logger
  intervalMs?: number
}): { trusted: () => boolean; look: () => Promise<void>; stop: () => void } {
  const { redis, clock, logger } = deps
  let trusted = true
  let timer: { cancel(): void } | undefined
  let stopped = false

  const look = async () => {
    try {
      const before = clock.now()
      const [seconds = 0, micros = 0] = await redis.time()
      const shared = Number(seconds) * 1000 + Number(micros) / 1000
      // The answer was made somewhere between the two readings; their middle halves the error.
      const skewMs = (before + clock.now()) / 2 - shared
      const now = Math.abs(skewMs) <= toleratedMs
      if (now !== trusted) {
        trusted = now
        const message = now ? 'the clock agrees with Redis again' : 'the clock is off: requests are not expired here'
        logger[now ? 'info' : 'error']({ skewMs: Math.round(skewMs) }, message)
      }
    } catch {
      // Redis is away: the last finding stands.
    }
    if (!stopped) timer = clock.setTimeout(() => void look(), deps.intervalMs ?? 30_000)
  }

  return {
    trusted: () => trusted,
    look,
    stop: () => {
      stopped = true
      timer?.cancel()
    },
  }
}
