import { type Deployment, emptyUsage, type Usage } from '@sluice/contracts'
import { costUsd, readUsage } from '@sluice/models'
import type { Blobs } from '@sluice/storage'
import { batchCostUsd } from './batch-cost.ts'
import type { PartRow } from './batch-row.ts'
import { fileLines } from './file-lines.ts'
import { indexedLines } from './part-lines.ts'
import { resultText } from './part-results.ts'
import type { Provider, RegionalBatch } from './provider.ts'
import { ResultSpool } from './result-spool.ts'

/** How often a line is done again that its region answered with an error that may pass. */
const maxAttempts = 3

export interface Collected {
  completed: number
  failed: number
  usage: Usage
  cost_usd: number
  online_usd: number
  /** Tokens that the region counted and no kept answer shows. */
  waste_usd: number
  /** Blob of the results; undefined when there are none. */
  results: string | undefined
  /** Blob of the lines that have no answer; undefined when all have one. */
  left: { blob: string; lines: number; bytes: number } | undefined
}

/** What a caller of `collectPart` does with each answer before the part counts as done. */
export type ResultSink = (result: { index: number; ok: boolean; result: ResultFields; usage: Usage }) => Promise<void>

export interface ResultFields {
  id: string
  response: { status_code: number; request_id: string; body: unknown } | null
  error: { code: string; message: string } | null
}

interface Deps {
  blobs: Blobs
  provider: Provider
  sink?: ResultSink | undefined
}

/**
 * Fetches what a regional batch left, whether it completed, expired or was cancelled: answers and final errors are
 * sorted into one blob, the other lines into another. Nothing is decided here: repeated, it writes the same.
 * @throws AppError as the provider and the blobs do
 */
export async function collectPart(
  { blobs, provider, sink }: Deps,
  part: PartRow,
  deployment: Deployment,
  batch: RegionalBatch,
  signal: AbortSignal,
): Promise<Collected> {
  const spool = new ResultSpool()
  const usage = { ...emptyUsage }
  let completed = 0
  try {
    for (const file of [batch.output_file_id, batch.error_file_id]) {
      if (file === undefined || file === null) continue
      const content = await provider.content(deployment, file, signal)
      for await (const { bytes } of fileLines(content, Number.POSITIVE_INFINITY)) {
        const line = read(bytes)
        if (line === undefined || mayPass(line.result, part.attempt)) continue
        const ok = line.result.error === null && (line.result.response?.status_code ?? 500) < 400
        if (!spool.add(line.index, `${resultText(ok, line.result)}\n`)) continue
        if (ok) completed++
        const used = readUsage(line.result.response?.body)
        for (const name of Object.keys(usage) as (keyof Usage)[]) usage[name] += used[name]
        await sink?.({ index: line.index, ok, result: line.result, usage: used })
      }
    }
    const cost = batchCostUsd(deployment, usage)
    const billed = batchCostUsd(deployment, readUsage(batch))
    return {
      ...{ completed, failed: spool.size - completed, usage, cost_usd: cost },
      online_usd: costUsd(deployment.price, usage),
      waste_usd: Math.max(0, billed - cost),
      results: await writeResults(blobs, part, spool, signal),
      left: spool.size === part.lines ? undefined : await writeLeft(blobs, part, spool, signal),
    }
  } finally {
    spool.close()
  }
}

function read(bytes: Buffer): { index: number; result: ResultFields } | undefined {
  const value = JSON.parse(bytes.toString('utf8')) as Partial<ResultFields> & { custom_id?: unknown }
  const index = Number(value.custom_id)
  if (typeof value.custom_id !== 'string' || !Number.isInteger(index)) return undefined
  const { id = '', response = null, error = null } = value
  return { index, result: { id, response, error } }
}

/** A line that was not done, or whose error another attempt may not meet. */
function mayPass({ error, response }: ResultFields, attempt: number): boolean {
  if (error !== null) return error.code === 'batch_expired' || error.code === 'batch_cancelled'
  const status = response?.status_code ?? 500
  return attempt < maxAttempts && (status === 408 || status === 429 || status >= 500)
}

async function writeResults(
  blobs: Blobs,
  part: PartRow,
  spool: ResultSpool,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (spool.size === 0) return undefined
  const path = `batches/${part.batch}/results/${part.id}.tsv`
  const writer = blobs.writer(part.tenant, path, 'text/tab-separated-values', signal)
  for (const { index, text } of spool.sorted()) await writer.write(`${index}\t${text}`)
  await writer.close()
  return `${part.tenant}/${path}`
}

async function writeLeft(blobs: Blobs, part: PartRow, spool: ResultSpool, signal: AbortSignal) {
  const path = `batches/${part.batch}/left/${part.id}.jsonl`
  const writer = blobs.writer(part.tenant, path, 'application/jsonl', signal)
  const left = { blob: `${part.tenant}/${path}`, lines: 0, bytes: 0 }
  for await (const { index, bytes } of indexedLines(await blobs.open(part.tenant, part.blob, signal))) {
    if (spool.has(index)) continue
    await writer.write(`${bytes.toString('utf8')}\n`)
    left.lines++
    left.bytes += bytes.length + 1
  }
  await writer.close()
  return left
}
