import type { BenchOptions } from '../main.ts'
import { startBatchStack } from './batch-stack.ts'
import { fileFigures } from './file-figures.ts'
import { interference } from './interference.ts'

/** A file through the platform under adversity, and what bulk work that went online does to interactive requests. */
export async function run({ short, durable, lines = short ? 2_000 : 200_000 }: BenchOptions): Promise<object> {
  const stack = await startBatchStack(durable, lines)
  try {
    const figures = await fileFigures(stack, lines)
    return { ...figures, ...(await interference(stack, short ? 200 : 10_000, short ? 40 : 300)) }
  } finally {
    await stack.stop()
  }
}
