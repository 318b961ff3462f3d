import type { Batching } from '@sluice/batch'
import type { Clock, Timer } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import type { BatchTimer } from './batch-timer.ts'

export interface BatchSweeper {
  start(): void
  stop(): Promise<void>
}

interface Options {
  batching: Pick<Batching, 'runner' | 'packer' | 'reconcile'>
  timer: Pick<BatchTimer, 'wake'>
  clock: Clock
  logger: Logger
  intervalMs: number
  packMs: number
}

const dueAtOnce = 200
const reconcileMs = 60_000

/**
 * Sets the timers of what is due and has none: new batches and parts, what another row woke, and whatever Redis lost.
 * Beside it, more rarely, requests are packed and forgotten reservations dropped.
 */
export function createBatchSweeper({ batching, timer, clock, logger, intervalMs, packMs }: Options): BatchSweeper {
  const { runner, packer, reconcile } = batching
  const stopping = new AbortController()
  const timers = new Set<Timer>()
  const running = new Set<Promise<void>>()

  /** Repeats `work`; a failure is logged once until it succeeds again. */
  const every = (ms: number, name: string, work: () => Promise<unknown>) => {
    let failing = false
    const turn = async (): Promise<void> => {
      try {
        await work()
        failing = false
      } catch (err) {
        if (!failing) logger.warn({ err, task: name }, 'a round of the sweeper failed')
        failing = true
      }
    }
    const schedule = () => {
      if (stopping.signal.aborted) return
      const pending = clock.setTimeout(
        () => {
          timers.delete(pending)
          const one = turn().finally(() => {
            running.delete(one)
            schedule()
          })
          running.add(one)
        },
        ms * (0.75 + Math.random() / 2),
      )
      timers.add(pending)
    }
    schedule()
  }

  const wakeDue = async (): Promise<void> => {
    for (const row of await runner.due(dueAtOnce)) await timer.wake(row)
  }

  return {
    start() {
      every(intervalMs, 'due', wakeDue)
      every(packMs, 'pack', () => packer.packOnce())
      every(reconcileMs, 'reconcile', reconcile)
    },
    async stop() {
      stopping.abort()
      for (const pending of timers) pending.cancel()
      await Promise.all(running)
    },
  }
}
