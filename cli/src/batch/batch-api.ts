import { openAsBlob } from 'node:fs'
import { basename } from 'node:path'
import { z } from 'zod'
import { callIngest, readJson } from '../call-ingest.ts'
import type { Connection } from '../connection.ts'
import { UsageError } from '../usage-error.ts'

const problem = z.looseObject({ message: z.string(), line: z.int().nullish() })
const file = z.looseObject({
  id: z.string(),
  sluice: z
    .looseObject({ lines: z.int(), rejected: z.int(), errors: z.array(problem), region: z.string().optional() })
    .optional(),
})
const regionCounts = z.looseObject({ lines: z.int(), completed: z.int(), failed: z.int() })
const batch = z.looseObject({
  id: z.string(),
  status: z.string(),
  endpoint: z.string(),
  created_at: z.int(),
  request_counts: z.object({ total: z.int(), completed: z.int(), failed: z.int() }),
  output_file_id: z.string().nullish(),
  error_file_id: z.string().nullish(),
  errors: z.looseObject({ data: z.array(problem) }).nullish(),
  sluice: z
    .looseObject({
      deadline: z.string().optional(),
      cost_usd: z.number().optional(),
      saved_usd: z.number().optional(),
      by_region: z.record(z.string(), regionCounts).optional(),
    })
    .optional(),
})
export type Batch = z.infer<typeof batch>

export const isOver = ({ status }: Pick<Batch, 'status'>): boolean =>
  ['completed', 'failed', 'expired', 'cancelled'].includes(status)

// A file may be a gigabyte, and is checked line by line while it comes in.
const uploadDeadlineMs = 60 * 60 * 1000

/** Files and batches as ingest serves them; see callIngest for what every call throws. */
export interface BatchApi {
  upload(path: string): Promise<z.infer<typeof file>>
  submit(body: object, idempotencyKey: string | undefined): Promise<Batch>
  get(id: string): Promise<Batch>
  cancel(id: string): Promise<Batch>
  list(limit: number): Promise<Batch[]>
  /** From a byte on; undefined when there is nothing behind it. */
  content(fileId: string, from: number, signal: AbortSignal): Promise<Response | undefined>
}

/** @param sticky whether files are pinned to one region */
export function createBatchApi(connection: Connection, sticky = false): BatchApi {
  const base = sticky ? '/openai-sticky/v1' : '/v1'
  const json = (body: object, more: Record<string, string> = {}) => ({
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', ...more },
  })
  const one = async (path: string, init?: RequestInit) =>
    readJson(batch, await callIngest(connection, `${base}/batches${path}`, init))
  return {
    async upload(path) {
      // Backed by the file: its bytes are read as they are sent.
      const bytes = await openAsBlob(path).catch((cause: unknown) => {
        throw new UsageError(`${path} cannot be read.`, { cause })
      })
      const form = new FormData()
      form.set('purpose', 'batch')
      form.set('file', bytes, basename(path))
      const init = { method: 'POST', body: form, deadlineMs: uploadDeadlineMs }
      return readJson(file, await callIngest(connection, `${base}/files`, init))
    },
    submit: (body, key) => one('', json(body, key === undefined ? {} : { 'idempotency-key': key })),
    get: (id) => one(`/${encodeURIComponent(id)}`),
    cancel: (id) => one(`/${encodeURIComponent(id)}/cancel`, json({})),
    async list(limit) {
      const page = await callIngest(connection, `${base}/batches?limit=${limit}`)
      return (await readJson(z.object({ data: z.array(batch) }), page)).data
    },
    async content(fileId, from, signal) {
      const path = `${base}/files/${encodeURIComponent(fileId)}/content`
      try {
        return await callIngest(connection, path, { signal, headers: from === 0 ? {} : { range: `bytes=${from}-` } })
      } catch (error) {
        if (from > 0 && error instanceof UsageError && error.message.startsWith('range:')) return undefined
        throw error
      }
    },
  }
}
