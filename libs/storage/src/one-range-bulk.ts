import type { Items, JSONObject, OperationInput, OperationResponse, RequestOptions } from '@azure/cosmos'

/** A row to be created. */
export interface NewRow {
  row: object
  key: string[]
  /** What `JSON.stringify(row)` amounts to, where it is at hand at a lower price. */
  json?: string | undefined
}

export type CreateRows = (rows: readonly NewRow[], options: RequestOptions) => Promise<OperationResponse[]>

interface RangeBatch {
  rangeId: string
  operations: object[]
  /** Where each operation stood in the request. */
  indexes: number[]
}

type Group = (operations: OperationInput[], definition: unknown, options: object, batches: RangeBatch[]) => void
type Execute = (
  batches: RangeBatch[],
  path: string,
  bulkOptions: unknown,
  options: object,
  diagnosticNode: unknown,
  responses: OperationResponse[],
  definition: unknown,
) => Promise<void>[]

/** What is known here of the inside of @azure/cosmos, pinned to 4.10.1. Another version that lacks it is left as it is. */
interface ItemsInternals {
  groupOperationsBasedOnPartitionKey?: Group
  executeBatchOperations?: Execute
  clientContext?: { bulk?(request: object): Promise<{ result: OperationResponse[] }> }
  container?: { url: string }
}

/** A request under way, known by its options: the one object that the SDK passes through. */
interface UnderWay {
  rows: readonly NewRow[]
  /** The only range, once it is known that there is no other. */
  range?: RangeBatch | undefined
}

/** The SDK's own bound on the body of a bulk request. */
const maxBodyBytes = 220_000
const rangeIsGone = 410

/**
 * Bulk creates for a container of one physical partition. The SDK hashes the partition key of every operation in
 * JavaScript to find its range, and writes every operation as JSON twice, first for its size alone; with one range there
 * is one answer, and the JSON written once is the body. Signing, retries and session tokens stay the SDK's, and so do
 * containers of several ranges and what becomes of a range that splits under a request.
 */
export function createRowsOf(items: Items): CreateRows {
  const internals = items as unknown as ItemsInternals
  const { groupOperationsBasedOnPartitionKey: group, executeBatchOperations: execute, clientContext } = internals
  const known =
    typeof group === 'function' && typeof execute === 'function' && typeof clientContext?.bulk === 'function'
  if (!known) return (rows, options) => items.bulk(rows.map(operationOf), {}, options)
  const requests = new WeakMap<object, UnderWay>()

  internals.groupOperationsBasedOnPartitionKey = (operations, definition, options, batches) => {
    const request = requests.get(options)
    // The SDK goes on without the batch that stays empty here.
    if (request !== undefined && batches.length === 1) request.range = batches[0]
    else group.call(items, operations, definition, options, batches)
  }
  internals.executeBatchOperations = (batches, path, bulkOptions, options, diagnosticNode, responses, definition) => {
    const { rows, range } = requests.get(options) ?? {}
    const bySdk = (what: RangeBatch[]) =>
      execute.call(items, what, path, bulkOptions, options, diagnosticNode, responses, definition)
    // What a split makes of a request comes by here once more.
    requests.delete(options)
    if (rows === undefined || range === undefined) return bySdk(batches)
    const resourceId = internals.container?.url
    const request = { partitionKeyRangeId: range.rangeId, path, resourceId, bulkOptions, options, diagnosticNode }
    return bodiesOf(rows).map(async ({ body, first, end }) => {
      try {
        const answer = await clientContext.bulk?.({ ...request, body })
        for (const [index, response] of (answer?.result ?? []).entries()) responses[first + index] = response
      } catch (cause) {
        const { code, message } = cause as { code?: unknown; message?: string }
        if (code !== rangeIsGone) throw new Error(`Bulk request errored with: ${message}`, { cause })
        const indexes = Array.from({ length: end - first }, (_, index) => first + index)
        const operations = rows.slice(first, end).map((row) => withWrittenKey(operationOf(row)))
        await Promise.all(bySdk([{ ...range, operations, indexes }]))
      }
    })
  }
  return (rows, options) => {
    requests.set(options, { rows })
    return items.bulk(rows.map(operationOf), {}, options)
  }
}

const operationOf = ({ row, key }: NewRow): OperationInput => ({
  operationType: 'Create',
  partitionKey: key,
  resourceBody: row as unknown as JSONObject,
})

const withWrittenKey = (operation: OperationInput): object => ({
  ...operation,
  partitionKey: JSON.stringify(operation.partitionKey),
})

/** Bodies of bulk requests, each with its part of the rows. A row that is too large for one has one to itself. */
function bodiesOf(rows: readonly NewRow[]): { body: string; first: number; end: number }[] {
  const bodies: { body: string; first: number; end: number }[] = []
  let body = ''
  let bytes = 0
  let first = 0
  for (const [index, { row, key, json }] of rows.entries()) {
    const written = JSON.stringify(JSON.stringify(key))
    const text = `{"operationType":"Create","partitionKey":${written},"resourceBody":${json ?? JSON.stringify(row)}}`
    const length = Buffer.byteLength(text)
    if (index > first && bytes + length > maxBodyBytes) {
      bodies.push({ body: `[${body}]`, first, end: index })
      body = ''
      bytes = 0
      first = index
    }
    body += index === first ? text : `,${text}`
    bytes += length
  }
  return body === '' ? bodies : [...bodies, { body: `[${body}]`, first, end: rows.length }]
}
