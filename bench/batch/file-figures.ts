import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BatchStack } from './batch-stack.ts'
import { type Batch, disturb, mispinned, over, readAnswers, settled, submit, writeLines } from './disturbed-batch.ts'
import { watchProcess } from './process-figures.ts'

/** The twin's time against ours while a batch runs: its batches take seconds, not hours. */
const clockRate = 4
/** The pinned batch is small: it shows that its calls find their region, and costs nothing that counts. */
const pinnedLines = 200

/**
 * One file of lines through the whole stack, while its worker is killed twice, Redis is flushed and a region is lost:
 * every line must come back once, in its place. Smaller ones before it, left in peace, tell how the work grows with the
 * lines.
 */
export async function fileFigures(stack: BatchStack, lines: number): Promise<object> {
  const file = join(tmpdir(), `sluice-bench-${process.pid}.jsonl`)
  const worker = watchProcess(() => stack.processes.get('batch-worker')?.pid)
  const ingest = watchProcess(() => stack.processes.get('ingest')?.pid)
  /** CPU of both services, for a thousand lines. */
  const overhead = async <T>(count: number, work: () => Promise<T>): Promise<{ made: T; msPer1000: number }> => {
    const before = worker.cpuMs() + ingest.cpuMs()
    const made = await work()
    return { made, msPer1000: (worker.cpuMs() + ingest.cpuMs() - before) / (count / 1_000) }
  }
  try {
    await writeLines(file, lines)
    await stack.twin('clock', { rate: clockRate })
    const growth: Record<number, number> = {}
    for (const count of [lines / 100, lines / 10]) {
      const { msPer1000 } = await overhead(count, async () => over(stack, (await submit(stack, file, '/v1', count)).id))
      growth[count] = Math.round(msPer1000)
      progress(`${count} lines in peace: ${growth[count]} ms per 1,000`)
    }
    const pinned = await submit(stack, file, '/openai-sticky/v1', pinnedLines)
    const { made: batch, msPer1000 } = await overhead(lines, () => disturbed(stack, file, lines))
    growth[lines] = Math.round(msPer1000)
    progress(`${lines} lines disturbed: ${growth[lines]} ms per 1,000`)
    const answers = await readAnswers(stack, batch, lines)
    await over(stack, pinned.id)
    const { sluice } = await settled(stack, batch.id)
    const online = sluice.cost_usd + sluice.saved_usd
    const paid = sluice.cost_usd + sluice.waste_usd
    const figures = {
      lines,
      ...answers,
      cost_ratio_online: round(paid / online),
      waste_ratio: round(sluice.waste_usd / paid),
      mispinned_calls: await mispinned(stack),
      // The batch worker's, at any time; ingest takes the upload and hands out the result.
      peak_rss_mb: Math.round(worker.peakRssMb()),
      ingest_peak_rss_mb: Math.round(ingest.peakRssMb()),
      regions_used: sluice.regions.length,
      overhead_ms_per_1000_lines: round(msPer1000),
      // At 1 it is linear. Small files pay for what is done once, so it is the two larger ones that are compared.
      overhead_growth: round((growth[lines] ?? Number.NaN) / (growth[lines / 10] ?? Number.NaN)),
      overhead_ms_per_1000_lines_by_lines: growth,
    }
    progress(JSON.stringify(figures))
    return figures
  } finally {
    worker.stop()
    ingest.stop()
    await rm(file, { force: true })
  }
}

const round = (value: number) => Math.round(value * 1_000) / 1_000

const startedMs = Date.now()
const progress = (what: string) => console.error(`${((Date.now() - startedMs) / 1_000).toFixed(0)} s: ${what}`)

async function disturbed(stack: BatchStack, file: string, lines: number): Promise<Batch> {
  const { id } = await submit(stack, file, '/v1')
  await disturb(stack, id, lines)
  return over(stack, id)
}
