import { setTimeout as pause } from 'node:timers/promises'
import { type Batch, type BatchApi, isOver } from './batch-api.ts'
import { progressLine, watchStart } from './progress-line.ts'

const firstPauseMs = 500
const longestPauseMs = 5_000

/**
 * Shows a batch until it is over: one line that changes on a terminal, a line a change elsewhere.
 * @returns the batch as it ended
 */
export async function watchBatch(api: BatchApi, id: string, to: NodeJS.WriteStream): Promise<Batch> {
  let batch = await api.get(id)
  const start = watchStart(batch, Date.now())
  let shown = ''
  let pauseMs = firstPauseMs
  for (;;) {
    const line = progressLine(batch, start, Date.now())
    if (to.isTTY) to.write(`\r\u001B[K${line}`)
    else if (line !== shown) to.write(`${line}\n`)
    // While something happens it is worth looking often.
    pauseMs = line === shown ? Math.min(pauseMs * 1.25, longestPauseMs) : firstPauseMs
    shown = line
    if (isOver(batch)) break
    await pause(pauseMs)
    batch = await api.get(id)
  }
  if (to.isTTY) to.write('\n')
  return batch
}
