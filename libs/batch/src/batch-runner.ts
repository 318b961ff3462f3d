import { AppError, toAppError } from '@sluice/errors'
import type { Timer } from '@sluice/resilience'
import { advanceBatch, type BatchContext } from './advance-batch.ts'
import { advancePart } from './advance-part.ts'
import { type AnyRow, FenceLost, type RowRef } from './batch-store.ts'
import type { Step } from './part-context.ts'

export interface BatchRunner {
  /**
   * Does what there is to do for a batch or a part, step after step.
   * @returns the milliseconds after which to come again; undefined when there is nothing to come for
   */
  advance(ref: RowRef, signal: AbortSignal): Promise<number | undefined>
  /** What is due: its timer was lost, or it was never set. The rows decide, however often they are named. */
  due(limit: number): Promise<RowRef[]>
}

/** How long after its time a row counts as forgotten by its timer. */
const graceMs = 10_000
const retryMs = 5_000

/**
 * Runs batches and parts. Any number of workers may run the same row: the fence lets one of them through.
 * @param leaseMs for how long a holder need not show that it is alive
 */
export function createBatchRunner(context: BatchContext, owner: string, leaseMs = 15_000): BatchRunner {
  const { store, clock, logger } = context

  const step = async (row: AnyRow, signal: AbortSignal): Promise<Step<AnyRow>> => {
    if (row.kind === 'batch') return advanceBatch(context, row, signal)
    const batch = await store.getBatch(row.tenant, row.batch)
    if (batch === undefined) throw new AppError('internal', `${row.id} has no batch.`)
    return advancePart(context, row, batch, signal)
  }

  /** Keeps the row's lease while `work` runs; aborts it when somebody else took the fence. */
  const held = async <T>(row: AnyRow, outer: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const lost = new AbortController()
    let timer: Timer | undefined
    const beat = () => {
      if (lost.signal.aborted) return
      timer = clock.setTimeout(() => {
        store.renew(row, leaseMs).then(beat, (error: unknown) => {
          if (error instanceof FenceLost) lost.abort(error)
          else beat()
        })
      }, leaseMs / 3)
    }
    beat()
    try {
      return await work(AbortSignal.any([outer, lost.signal]))
    } finally {
      lost.abort(new FenceLost(row.id))
      timer?.cancel()
    }
  }

  const run = async (claimed: AnyRow, outer: AbortSignal): Promise<number | undefined> =>
    held(claimed, outer, async (signal) => {
      let row = claimed
      for (;;) {
        signal.throwIfAborted()
        const { row: next, afterMs } = await step(row, signal)
        if (!next.open) return undefined
        if (afterMs > 0) {
          await store.renew(next, afterMs + (next.kind === 'part' ? graceMs : 0))
          return next.kind === 'part' ? afterMs : undefined
        }
        row = next
      }
    })

  return {
    async advance(ref, signal) {
      try {
        const seen = await store.get(ref)
        if (seen === undefined || !seen.open) return undefined
        const claimed = await store.claim<AnyRow>(seen, owner, leaseMs)
        return claimed === undefined ? undefined : await run(claimed, signal)
      } catch (thrown) {
        if (thrown instanceof FenceLost || (signal.aborted && thrown === signal.reason)) return undefined
        const error = toAppError(thrown)
        logger.warn({ err: error, batch: ref.batch, row: ref.id, tenant: ref.tenant }, 'a step will be tried again')
        return error.retryAfterMs ?? retryMs
      }
    },
    due: (limit) => store.due(limit),
  }
}
