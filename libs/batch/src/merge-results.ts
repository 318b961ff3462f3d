import type { Blobs } from '@sluice/storage'
import type { Ending, PartRow } from './batch-row.ts'
import { fileLines } from './file-lines.ts'
import { outputLine, partResults, type PartResult } from './part-results.ts'
import type { ManifestLine } from './plan.ts'

export interface Merged {
  completed: number
  failed: number
  output: { blob: string; bytes: number; lines: number }
  error: { blob: string; bytes: number; lines: number }
}

// Why a line has neither an answer nor an error of its own; `completed` stands for what must not happen.
const unanswered: Record<Ending, { code: string; message: string }> = {
  expired: { code: 'batch_expired', message: 'The deadline passed before the line was answered.' },
  cancelled: { code: 'batch_cancelled', message: 'The batch was cancelled before the line was answered.' },
  failed: { code: 'batch_failed', message: 'The batch failed before the line was answered.' },
  completed: { code: 'internal', message: 'No part answered the line.' },
}

/**
 * One output and one error file in the order of the input, from the manifest and the sorted results of all parts. A line
 * is written once even if two parts had an answer. Everything is a stream; repeated, it writes the same.
 */
export async function mergeResults(
  blobs: Blobs,
  {
    tenant,
    batch,
    manifest,
    parts,
    ending,
  }: { tenant: string; batch: string; manifest: string; parts: PartRow[]; ending: Ending },
  signal: AbortSignal,
): Promise<Merged> {
  const streams = parts.flatMap(({ outcome }) => (outcome?.results === undefined ? [] : [outcome.results]))
  const results = new SortedMerge(
    await Promise.all(streams.map(async (blob) => partResults(await blobs.open(tenant, blob, signal)))),
  )
  const paths = { output: `batches/${batch}/output.jsonl`, error: `batches/${batch}/error.jsonl` }
  const output = blobs.writer(tenant, paths.output, 'application/jsonl', signal)
  const error = blobs.writer(tenant, paths.error, 'application/jsonl', signal)
  let index = 0
  let completed = 0
  try {
    for await (const { bytes } of fileLines(await blobs.open(tenant, manifest, signal), Number.POSITIVE_INFINITY)) {
      const line = JSON.parse(bytes.toString('utf8')) as ManifestLine
      const found = await results.take(index)
      if (found?.ok === true) {
        completed++
        await output.write(outputLine(line.custom_id, found.text))
      } else if (found !== undefined) {
        await error.write(outputLine(line.custom_id, found.text))
      } else {
        const failure = { id: `${batch}.${index}`, response: null, error: line.error ?? unanswered[ending] }
        await error.write(outputLine(line.custom_id, JSON.stringify(failure)))
      }
      index++
    }
  } finally {
    await results.close()
  }
  const failed = index - completed
  return {
    ...{ completed, failed },
    output: { blob: `${tenant}/${paths.output}`, bytes: await output.close(), lines: completed },
    error: { blob: `${tenant}/${paths.error}`, bytes: await error.close(), lines: failed },
  }
}

/** The results of several sorted streams by their index, asked for in rising order. */
class SortedMerge {
  readonly #streams: AsyncGenerator<PartResult>[]
  readonly #heads = new Map<AsyncGenerator<PartResult>, PartResult>()
  #started = false

  constructor(streams: AsyncGenerator<PartResult>[]) {
    this.#streams = streams
  }

  /** The result of that index; of several the first. What lies before it is passed over. */
  async take(index: number): Promise<PartResult | undefined> {
    if (!this.#started) {
      this.#started = true
      for (const stream of this.#streams) await this.#advance(stream)
    }
    let found: PartResult | undefined
    for (const [stream, head] of this.#heads) {
      if (head.index > index) continue
      if (head.index === index) found ??= head
      await this.#advance(stream, index + 1)
    }
    return found
  }

  async close(): Promise<void> {
    for (const stream of this.#streams) await stream.return(undefined)
  }

  async #advance(stream: AsyncGenerator<PartResult>, from = 0): Promise<void> {
    for (;;) {
      const next = await stream.next()
      if (next.done === true) {
        this.#heads.delete(stream)
        return
      }
      this.#heads.set(stream, next.value)
      if (next.value.index >= from) return
    }
  }
}
