import type {
  Container,
  JSONObject,
  OperationInput,
  PatchOperation,
  PatchRequestBody,
  SqlQuerySpec,
} from '@azure/cosmos'
import { AppError } from '@sluice/errors'
import { withDeadline } from '@sluice/resilience'
import type { Condition } from './condition.ts'
import { type CosmosAnswer, translateCosmos } from './cosmos-error.ts'
import { type CreateRows, createRowsOf } from './one-range-bulk.ts'

/** Values of the container's partition key, in its order. */
export type RowKey = string[]

export type PatchOutcome<T> = { kind: 'patched'; row: T } | { kind: 'condition_failed' } | { kind: 'missing' }

/** One change of a row; all operations apply or none does. Cosmos allows ten. */
export interface RowPatch {
  id: string
  key: RowKey
  operations: PatchOperation[]
  when?: Condition
}

export interface RowQuery {
  sql: string
  parameters?: Record<string, string | number | boolean | null | string[]>
  limit: number
}

/**
 * The operations on one container. Each has a deadline and throws nothing but AppError (`storage_unavailable` when the
 * outcome is unknown or the service is away or throttling, `message_too_large`, `internal` for a refused operation) or
 * the reason of the caller's signal. Rows come back without Cosmos' own fields.
 */
export class RowStore<T extends { id: string }> {
  readonly #container: Container
  readonly #createRows: CreateRows
  readonly #deadlineMs: number

  constructor(container: Container, deadlineMs: number) {
    this.#container = container
    this.#createRows = createRowsOf(container.items)
    this.#deadlineMs = deadlineMs
  }

  /** @returns false when a row of that id is there already */
  async create(row: T, signal?: AbortSignal): Promise<boolean> {
    // A create never overwrites; the header says so to whatever proxy sits in between.
    const accessCondition = { type: 'IfNoneMatch', condition: '*' }
    const answer = await this.#attempt(signal, (abortSignal) =>
      this.#container.items.create(row, { abortSignal, accessCondition }),
    )
    if (answer.kind === 'missing') throw unexpected(answer)
    return answer.kind === 'done'
  }

  /**
   * Creates up to a hundred rows with one request a physical partition. Rows succeed and fail one by one.
   * @param rows with `json` where it is at hand: what `JSON.stringify(row)` amounts to
   * @returns in the order of the rows: whether it was created, was there already, or may be tried again
   */
  async createAll(
    rows: readonly { row: T; key: RowKey; json?: string | undefined }[],
  ): Promise<('created' | 'exists' | 'unavailable')[]> {
    const answer = await this.#attempt(undefined, (abortSignal) =>
      this.#createRows(rows, { contentResponseOnWriteEnabled: false, abortSignal }),
    )
    if (answer.kind !== 'done') throw unexpected(answer)
    return rows.map((_, index) => {
      const status = answer.value[index]?.statusCode ?? 0
      if (status === 201) return 'created'
      return status === 409 ? 'exists' : 'unavailable'
    })
  }

  async read(id: string, key: RowKey, signal?: AbortSignal): Promise<T | undefined> {
    if (!isRowId(id)) return undefined
    // Unlike every other operation, the SDK's point read answers a missing row without throwing.
    const answer = await this.#attempt(signal, (abortSignal) =>
      this.#container.item(id, key).read<T & SystemFields>({ abortSignal }),
    )
    if (answer.kind === 'missing') return undefined
    if (answer.kind !== 'done') throw unexpected(answer)
    return answer.value.resource === undefined ? undefined : withoutSystemFields(answer.value.resource)
  }

  /** @returns false when there was none */
  async remove(id: string, key: RowKey, signal?: AbortSignal): Promise<boolean> {
    if (!isRowId(id)) return false
    const answer = await this.#attempt(signal, (abortSignal) => this.#container.item(id, key).delete({ abortSignal }))
    if (answer.kind !== 'done' && answer.kind !== 'missing') throw unexpected(answer)
    return answer.kind === 'done'
  }

  async patch(patch: RowPatch, signal?: AbortSignal): Promise<PatchOutcome<T>> {
    if (!isRowId(patch.id)) return { kind: 'missing' }
    const answer = await this.#attempt(signal, (abortSignal) =>
      this.#container.item(patch.id, patch.key).patch<T & SystemFields>(patchBody(patch), { abortSignal }),
    )
    if (answer.kind === 'missing' || answer.kind === 'condition_failed') return { kind: answer.kind }
    if (answer.kind !== 'done' || answer.value.resource === undefined) throw unexpected(answer)
    return { kind: 'patched', row: withoutSystemFields(answer.value.resource) }
  }

  /**
   * Patches many rows with few requests, for writes that may be late: the SDK's bulk executor waits a second for its
   * last, partly filled batch. Rows succeed and fail one by one.
   * @returns the patches that may be tried again; a missing row or a failed condition is final and not among them
   */
  async patchAll(patches: RowPatch[], deadlineMs: number): Promise<RowPatch[]> {
    const operations: OperationInput[] = patches.map((patch) => ({
      operationType: 'Patch',
      id: patch.id,
      partitionKey: patch.key,
      resourceBody: patchBody(patch) as unknown as JSONObject & { operations: PatchOperation[] },
    }))
    const options = { contentResponseOnWriteEnabled: false }
    const answer = await this.#attempt(
      undefined,
      (abortSignal) => this.#container.items.executeBulkOperations(operations, { ...options, abortSignal }),
      deadlineMs,
    )
    if (answer.kind !== 'done') throw unexpected(answer)
    return patches.filter((_, index) => {
      const { error, response } = answer.value[index] ?? {}
      const status = Number(error?.code ?? response?.statusCode ?? 0)
      return status !== 404 && status !== 412 && !(status >= 200 && status < 300)
    })
  }

  /** Up to `limit` rows, of any partition unless the query's own filter names one. */
  async query<R = T>({ sql, parameters = {}, limit }: RowQuery, signal?: AbortSignal): Promise<R[]> {
    const spec: SqlQuerySpec = {
      query: sql,
      parameters: Object.entries(parameters).map(([name, value]) => ({ name: `@${name}`, value })),
    }
    const answer = await this.#attempt(signal, async (abortSignal) => {
      const pages = this.#container.items.query<R>(spec, { abortSignal, maxItemCount: limit })
      const rows: R[] = []
      while (rows.length < limit && pages.hasMoreResults()) {
        abortSignal.throwIfAborted()
        rows.push(...((await pages.fetchNext()).resources ?? []))
      }
      return rows.slice(0, limit)
    })
    if (answer.kind !== 'done') throw unexpected(answer)
    return answer.value
  }

  async #attempt<R>(
    signal: AbortSignal | undefined,
    fn: (signal: AbortSignal) => Promise<R>,
    deadlineMs = this.#deadlineMs,
  ): Promise<{ kind: 'done'; value: R } | CosmosAnswer> {
    const late = () => new AppError('storage_unavailable', `Cosmos DB took over ${deadlineMs} ms.`)
    try {
      return { kind: 'done', value: await withDeadline(deadlineMs, signal, fn, late) }
    } catch (thrown) {
      signal?.throwIfAborted()
      return translateCosmos(thrown)
    }
  }
}

/**
 * Whether there can be a row of that id. Ids come from paths of callers and end up in paths of Cosmos, where `..` would
 * name the container instead of a row in it.
 * https://learn.microsoft.com/azure/cosmos-db/concepts-limits
 */
const isRowId = (id: string): boolean => /^[^/\\?#\p{Cc}]{1,255}$/u.test(id) && id !== '.' && id !== '..'

interface SystemFields {
  _rid?: string
  _self?: string
  _etag?: string
  _attachments?: string
  _ts?: number
}

function withoutSystemFields<T>(resource: T & SystemFields): T {
  const { _rid, _self, _etag, _attachments, _ts, ...row } = resource
  return row as T
}

const patchBody = ({ operations, when }: RowPatch): PatchRequestBody =>
  when === undefined ? operations : { operations, condition: `FROM c WHERE ${when.sql}` }

// For instance a 404 for a create: not the row but its container is missing.
const unexpected = ({ kind }: { kind: string }) => new AppError('internal', `Cosmos DB answered ${kind}.`)
