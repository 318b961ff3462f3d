import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { scoreComplexity } from '@sluice/routing'
import { z } from 'zod'
import { readLines } from './read-lines.ts'
import { UsageError } from './usage-error.ts'

const lineSchema = z.looseObject({
  id: z.union([z.string(), z.number()]).transform(String),
  messages: z.array(z.unknown()),
})

/** Writes `id,score` for every line of a file. What is at `out` is replaced only when all lines were good. */
export async function score(options: { in?: string; out?: string }): Promise<void> {
  if (options.in === undefined) throw new UsageError('--in FILE.jsonl is missing.')
  const { out } = options
  if (out === undefined) return writeScores(options.in, process.stdout, false)
  const part = `${out}.${process.pid}.part`
  try {
    await writeScores(options.in, createWriteStream(part), true)
    await rename(part, out)
  } catch (error) {
    await rm(part, { force: true })
    if (error instanceof UsageError) throw error
    throw new UsageError(`${out} could not be written: ${(error as Error).message}`)
  }
}

const writeScores = (file: string, to: Writable, end: boolean): Promise<void> =>
  pipeline(Readable.from(scoresOf(file)), to, { end })

async function* scoresOf(file: string): AsyncGenerator<string> {
  yield 'id,score\n'
  for await (const { id, ...body } of readLines(file, lineSchema)) {
    const { score } = scoreComplexity({ model: 'auto', ...body }, '/v1/chat/completions')
    yield `${cell(id)},${score}\n`
  }
}

/** A value of a CSV file, quoted when it has to be (RFC 4180). */
const cell = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
