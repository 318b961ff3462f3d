import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { createGunzip } from 'node:zlib'
import type { z } from 'zod'
import { UsageError } from './usage-error.ts'

/**
 * The objects of a JSONL file (`.gz`: compressed), one at a time. Empty lines are skipped.
 * @throws UsageError naming file and line, when there is no such file or a line is not as the schema says
 */
export async function* readLines<T>(file: string, schema: z.ZodType<T>): AsyncGenerator<T> {
  const source = createReadStream(file)
  const text = file.endsWith('.gz') ? source.pipe(createGunzip()) : source
  // pipe() does not pass errors on, and nobody but readline's consumer is there to see them.
  source.on('error', (error) => text.destroy(error))
  const lines = createInterface({ input: text, crlfDelay: Infinity })
  let number = 0
  try {
    for await (const line of lines) {
      number++
      if (line.trim() === '') continue
      yield parseLine(line, schema, `${file}:${number}`)
    }
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError(`${file} could not be read: ${(error as Error).message}`)
  } finally {
    lines.close()
    source.destroy()
  }
}

function parseLine<T>(line: string, schema: z.ZodType<T>, place: string): T {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (error) {
    throw new UsageError(`${place}: not JSON: ${(error as Error).message}`)
  }
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new UsageError(`${place}: ${issue?.path.join('.') || 'the line'}: ${issue?.message ?? 'not as expected'}`)
}
