import { setTimeout as pause } from 'node:timers/promises'
import { type Batch, type BatchApi, isOver } from './batch-api.ts'
import { progressLine, watchStart } from './progress-line.ts'

const firstPauseMs = 500
const longestPauseMs = 5_000
/** An ingest that restarts, or a network that drops out, does not end a watch of hours. */
const awayMs = 2 * 60_000

/**
 * Shows a batch until it is over: one line that changes on a terminal, a line a change elsewhere.
 * @returns the batch as it ended
 * @throws UsageError when it cannot be seen at first, or not for two minutes
 */
export async function watchBatch(api: BatchApi, id: string, to: NodeJS.WriteStream): Promise<Batch> {
  let batch = await api.get(id)
  const start = watchStart(batch, Date.now())
  let shown = ''
  let pauseMs = firstPauseMs
  for (;;) {
    const line = progressLine(batch, start, Date.now())
    // A line that wraps could not be written over.
    if (to.isTTY) to.write(`\r\u001B[K${line.slice(0, to.columns - 1)}`)
    else if (line !== shown) to.write(`${line}\n`)
    // While something happens it is worth looking often.
    pauseMs = line === shown ? Math.min(pauseMs * 1.25, longestPauseMs) : firstPauseMs
    shown = line
    if (isOver(batch)) break
    await pause(pauseMs)
    batch = await seen(api, id)
  }
  if (to.isTTY) to.write('\n')
  return batch
}

/** The batch as it is now, once it can be seen again. */
async function seen(api: BatchApi, id: string): Promise<Batch> {
  const giveUpAt = Date.now() + awayMs
  for (;;) {
    try {
      return await api.get(id)
    } catch (error) {
      if (Date.now() >= giveUpAt) throw error
      await pause(longestPauseMs)
    }
  }
}
