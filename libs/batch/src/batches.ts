import { createHash, randomUUID } from 'node:crypto'
import {
  type BatchObject,
  checkDeliverTargets,
  type DeliverTarget,
  type LineUrl,
  type PlatformConfig,
  type SluiceOptions,
} from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import type { Cosmos } from '@sluice/storage'
import type { Redis } from 'ioredis'
import { batchObject } from './batch-object.ts'
import { type BatchRow, isBatchOver } from './batch-row.ts'
import { createBatchStore } from './batch-store.ts'
import { createFileStore } from './file-store.ts'
import { createPins } from './pins.ts'

export interface SubmitBatch {
  input_file_id: string
  /** OpenAI's `/v1/chat/completions`, or Azure's `/chat/completions`; the url of the file's lines. */
  endpoint: string
  /** `24h`, or another number of hours up to 168: the deadline unless one is given. */
  completion_window: string
  metadata?: Record<string, string> | null | undefined
  /** RFC 3339. */
  deadline?: string | undefined
  deliver?: DeliverTarget[] | undefined
  /** Every line becomes a request of its own, with its own result event and its own targets. */
  perLineEvents?: boolean | undefined
  /** What holds for each line that does not say itself. */
  defaults?: SluiceOptions | undefined
  mode?: 'standard' | 'sticky' | undefined
  traceparent?: string | undefined
  /** The same key gives the same batch. */
  key?: string | undefined
}

export interface Batches {
  /**
   * Takes a batch in; a worker finds its row and does the rest.
   * @throws AppError `not_found` for a file that the tenant does not have, `invalid_line` with the param at fault,
   * `idempotency_conflict`
   */
  submit(tenant: string, input: SubmitBatch): Promise<BatchObject>
  /** @throws AppError `not_found`, as for another tenant's batch */
  get(tenant: string, id: string): Promise<BatchObject>
  /** The newest first. @param after the id of the last batch of the page before; @param limit up to 100 */
  list(
    tenant: string,
    page: { limit: number; after?: string | undefined },
  ): Promise<{ data: BatchObject[]; has_more: boolean }>
  /** What is done stays; a batch that is over is returned as it is. @throws AppError `not_found` */
  cancel(tenant: string, id: string): Promise<BatchObject>
}

export interface BatchesOptions {
  cosmos: Cosmos
  platform: PlatformConfig
  redis: Redis
  clock: Clock
}

const hourMs = 3_600_000
const cancelRounds = 8
const endpoints: Record<string, LineUrl> = {
  '/v1/chat/completions': '/v1/chat/completions',
  '/chat/completions': '/v1/chat/completions',
  '/v1/responses': '/v1/responses',
  '/responses': '/v1/responses',
  '/v1/embeddings': '/v1/embeddings',
  '/embeddings': '/v1/embeddings',
}

export function createBatches({ cosmos, platform, redis, clock }: BatchesOptions): Batches {
  const pins = createPins({ redis })
  const store = createBatchStore({ cosmos, clock })
  const files = createFileStore({ cosmos })

  const find = async (tenant: string, id: string): Promise<BatchRow> => {
    const row = await store.getBatch(tenant, id)
    if (row?.kind !== 'batch') throw new AppError('not_found', `There is no batch ${id}.`, { param: 'batch_id' })
    return row
  }
  const shown = async (row: BatchRow): Promise<BatchObject> =>
    batchObject(row, row.totals === undefined ? await store.parts(row.tenant, row.id) : [])

  return {
    async submit(tenant, input) {
      const endpoint = Object.hasOwn(endpoints, input.endpoint) ? endpoints[input.endpoint] : undefined
      if (endpoint === undefined) throw invalid('endpoint', `one of ${Object.keys(endpoints).join(', ')}`)
      checkMetadata(input.metadata)
      checkDeliverTargets(platform, tenant, input.deliver)
      const deadlineMs = deadlineOf(input, clock.now())
      const file = await files.get(tenant, input.input_file_id)
      if (file === undefined)
        throw new AppError('not_found', `There is no file ${input.input_file_id}.`, { param: 'input_file_id' })
      if (file.purpose !== 'batch') throw invalid('input_file_id', `a file of purpose batch, not ${file.purpose}`)
      if (file.endpoint !== undefined && file.endpoint !== endpoint)
        throw invalid('endpoint', `the file's lines are for ${file.endpoint}`)
      const pinned = await pins.get(tenant, file.id, async () => file.region)
      const { mode = pinned === undefined ? 'standard' : 'sticky' } = input
      if (mode === 'sticky' && pinned === undefined)
        throw invalid('input_file_id', 'a file that was uploaded as sticky; this one has no region')
      const id = `batch_${input.key === undefined ? randomUUID().replaceAll('-', '') : keyHash(tenant, input.key)}`
      const now = store.iso()
      const row: BatchRow = {
        ...{ id, tenant, batch: id, schema: 1, kind: 'batch', status: 'validating', fence: 0, owner: null },
        ...{ open: true, due_at: now, created_at: now, updated_at: now, mode, source: 'file' },
        per_line: input.perLineEvents ?? false,
        endpoint,
        input_file_id: file.id,
        completion_window: input.completion_window,
        metadata: input.metadata ?? null,
        deadline: store.iso(deadlineMs),
        ...(mode === 'sticky' && pinned !== undefined ? { region: pinned } : {}),
        ...(input.deliver === undefined ? {} : { deliver: input.deliver }),
        ...(input.defaults === undefined ? {} : { defaults: input.defaults }),
        ...(input.traceparent === undefined ? {} : { traceparent: input.traceparent }),
        lines: { total: file.lines + file.rejected, rejected: file.rejected },
        times: { validating: now },
        problems: [],
        abandoned_waste_usd: 0,
        events: ['created'],
        progress: 0,
      }
      if (await store.create(row)) {
        if (row.region !== undefined) await pins.set(tenant, id, row.region)
        return batchObject(row, [])
      }
      const known = await find(tenant, id)
      if (known.input_file_id === file.id && known.endpoint === endpoint) return shown(known)
      throw new AppError('idempotency_conflict', 'The idempotency key was used for a different batch before.', {
        param: 'idempotency_key',
      })
    },
    get: async (tenant, id) => shown(await find(tenant, id)),
    async list(tenant, { limit, after }) {
      const rows = await store.list(tenant, limit + 1, after === undefined ? undefined : await find(tenant, after))
      const data = await Promise.all(rows.slice(0, limit).map(shown))
      return { data, has_more: rows.length > limit }
    },
    async cancel(tenant, id) {
      for (let round = 0; round < cancelRounds; round++) {
        const row = await find(tenant, id)
        if (isBatchOver(row.status) || row.status === 'cancelling' || row.status === 'finalizing') return shown(row)
        // With the fence, so that a worker in the middle of a step cannot move the batch on as if nothing had happened.
        const held = await store.claim(row, 'cancel', 0)
        if (held === undefined) continue
        const cancelled = await store
          .move(held, 'cancelling', { ending: 'cancelled', due_at: store.iso() })
          .catch(() => undefined)
        if (cancelled !== undefined) return shown(cancelled)
      }
      throw new AppError('storage_unavailable', `${id} changed ${cancelRounds} times while it was cancelled.`)
    },
  }
}

const invalid = (param: string, expected: string): AppError =>
  new AppError('invalid_line', `${param}: expected ${expected}`, { param })

const keyHash = (tenant: string, key: string): string =>
  createHash('sha256').update(`${tenant.length}:${tenant}\n${key}`).digest('hex').slice(0, 32)

/** OpenAI's limits: 16 pairs, keys up to 64 characters, values up to 512. */
function checkMetadata(metadata: SubmitBatch['metadata']): void {
  const pairs = Object.entries(metadata ?? {})
  const fits = pairs.every(([key, value]) => key.length <= 64 && typeof value === 'string' && value.length <= 512)
  if (pairs.length > 16 || !fits) throw invalid('metadata', 'up to 16 texts of up to 512 characters')
}

function deadlineOf({ completion_window: window, deadline }: SubmitBatch, nowMs: number): number {
  const hours = Number(/^([1-9]\d{0,2})h$/.exec(window)?.[1] ?? 0)
  if (hours < 1 || hours > 168) throw invalid('completion_window', '"24h", or another number of hours up to "168h"')
  if (deadline === undefined) return nowMs + hours * hourMs
  const at = Date.parse(deadline)
  if (!Number.isFinite(at) || at <= nowMs) throw invalid('deadline', 'a time to come, in RFC 3339')
  return at
}
