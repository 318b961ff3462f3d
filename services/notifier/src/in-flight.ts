import type { Logger } from '@sluice/telemetry'

/** Work that goes on after whoever began it has moved on. */
export interface InFlight {
  add(work: Promise<void>): void
  /** Resolves when all of it has ended. */
  settled(): Promise<void>
}

export function createInFlight(logger: Logger): InFlight {
  const all = new Set<Promise<void>>()
  return {
    add(work) {
      const guarded = work
        .catch((err: unknown) => logger.warn({ err }, 'an attempt was not recorded; its row falls overdue'))
        .finally(() => all.delete(guarded))
      all.add(guarded)
    },
    settled: async () => void (await Promise.all(all)),
  }
}
