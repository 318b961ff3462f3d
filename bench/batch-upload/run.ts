import { startBatchStack } from '../batch/batch-stack.ts'
import { watchProcess } from '../batch/process-figures.ts'
import type { BenchOptions } from '../main.ts'
import { lineBytes, upload } from './generated-upload.ts'

const withinMs = 20 * 60_000

/** One file through the door of a real ingest, and what that process has in memory at most while it is stored. */
export async function run({ short, durable, lines = short ? 64_000 : 1_000_000 }: BenchOptions): Promise<object> {
  const stack = await startBatchStack(durable, 200_000)
  const ingest = watchProcess(() => stack.processes.get('ingest')?.pid)
  try {
    const before = ingest.peakRssMb()
    const startedMs = performance.now()
    const cpuMs = ingest.cpuMs()
    const door = { url: stack.env.INGEST_URL ?? '', key: stack.env.SLUICE_API_KEY ?? '' }
    const file = await upload(door, lines, withinMs)
    const seconds = (performance.now() - startedMs) / 1_000
    return {
      lines,
      accepted: file.sluice.lines,
      bytes: file.bytes,
      whole: file.bytes === lines * lineBytes && file.sluice.lines === lines,
      seconds: Math.round(seconds * 10) / 10,
      mb_per_second: Math.round(file.bytes / 1e6 / seconds),
      cpu_ms_per_mb: Math.round(((ingest.cpuMs() - cpuMs) / (file.bytes / 1e6)) * 10) / 10,
      idle_rss_mb: Math.round(before),
      peak_rss_mb: Math.round(ingest.peakRssMb()),
    }
  } finally {
    ingest.stop()
    await stack.stop()
  }
}
