import { badRequest, CosmosError, tooLarge } from '../cosmos-error.ts'
import { isJsonObject, type Json, type JsonObject } from '../json.ts'
import { parsePartitionKey, type PartitionKeyComponent } from '../partition-key.ts'
import type { ItemContainer } from '../store/item-container.ts'
import {
  checkItem,
  createItem,
  deleteItem,
  patchItem,
  readItem,
  replaceItem,
  upsertItem,
  type ItemAddress,
  type ItemResult,
} from './item-operations.ts'
import { flatCharge, readCharge, writeCharge } from './request-charge.ts'

export interface BatchRequest {
  container: ItemContainer
  body: string
  /** The key of an atomic batch; undefined for bulk, whose operations carry their own. */
  partitionKey: readonly PartitionKeyComponent[] | undefined
  /** Bulk only: whether operations after a failed one still run. */
  continueOnError: boolean
  /** Leave out the items written (`Prefer: return=minimal`). */
  minimal: boolean
  nowMs: number
}

export interface BatchOutcome {
  /** 200, or 207 when an operation failed. */
  status: 200 | 207
  body: string
  charge: number
}

interface Outcome {
  status: number
  charge: number
  text: string
}

const maxOperations = 100
const maxBytes = 2 * 1024 * 1024

const readOperations = (body: string): JsonObject[] => {
  if (Buffer.byteLength(body) > maxBytes) throw tooLarge()
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    throw badRequest('The batch is not JSON.')
  }
  if (!Array.isArray(value) || value.length === 0 || !value.every(isJsonObject))
    throw badRequest('The batch is not an array of operations.')
  if (value.length > maxOperations)
    throw badRequest(
      `Batch request has more operations than what is supported: ${value.length}, at most ${maxOperations}.`,
    )
  return value
}

const text = (operation: JsonObject, name: string): string | undefined => {
  const value = operation[name]
  return typeof value === 'string' ? value : undefined
}

const run = (operation: JsonObject, address: ItemAddress): ItemResult => {
  const id = text(operation, 'id') ?? ''
  const resource: Json = operation['resourceBody'] ?? null
  switch (operation['operationType']) {
    case 'Create':
      return createItem(address, checkItem(resource))
    case 'Upsert':
      return upsertItem(address, checkItem(resource))
    case 'Replace':
      return replaceItem(address, id, checkItem(resource))
    case 'Read':
      return readItem(address, id)
    case 'Delete':
      return deleteItem(address, id)
    case 'Patch':
      return patchItem(address, id, resource)
    default:
      throw badRequest(
        `The operation type ${JSON.stringify(operation['operationType'] ?? null)} is not supported in a batch.`,
      )
  }
}

const addressOf = (request: BatchRequest, operation: JsonObject): ItemAddress => {
  const own = text(operation, 'partitionKey')
  const partitionKey = request.partitionKey ?? (own === undefined ? undefined : parsePartitionKey(own))
  if (partitionKey === undefined) throw badRequest('PartitionKey value must be supplied for this operation.')
  return {
    container: request.container,
    partitionKey,
    ifMatch: text(operation, 'ifMatch'),
    ifNoneMatch: text(operation, 'ifNoneMatch'),
    nowMs: request.nowMs,
  }
}

const succeeded = (result: ItemResult, minimal: boolean): Outcome => {
  const charge = result.kind === 'read' ? readCharge(result.bytes) : writeCharge(result.bytes)
  const shown = result.body !== undefined && !(minimal && result.kind === 'write')
  const etag = result.status === 204 ? '' : `,"eTag":${JSON.stringify(result.etag)}`
  const resource = shown ? `,"resourceBody":${result.body}` : ''
  return {
    status: result.status,
    charge,
    text: `{"statusCode":${result.status},"requestCharge":${charge.toFixed(2)}${etag}${resource}}`,
  }
}

const failed = (error: CosmosError): Outcome => {
  const outcome = {
    statusCode: error.status,
    subStatusCode: error.substatus,
    requestCharge: flatCharge,
    message: error.message,
  }
  return { status: error.status, charge: flatCharge, text: JSON.stringify(outcome) }
}

const dependency = (): Outcome => failed(new CosmosError(424, 'Another operation of the batch failed.'))

const attempt = (request: BatchRequest, operation: JsonObject): Outcome => {
  try {
    return succeeded(run(operation, addressOf(request, operation)), request.minimal)
  } catch (error) {
    if (error instanceof CosmosError) return failed(error)
    throw error
  }
}

const isFailure = ({ status }: Outcome): boolean => status >= 400

const answer = (outcomes: Outcome[]): BatchOutcome => ({
  status: outcomes.some(isFailure) ? 207 : 200,
  body: `[${outcomes.map((outcome) => outcome.text).join(',')}]`,
  charge: outcomes.reduce((sum, { charge }) => sum + charge, 0),
})

class Rollback extends Error {
  readonly outcomes: Outcome[]
  constructor(outcomes: Outcome[]) {
    super('rolled back')
    this.outcomes = outcomes
  }
}

const runAtomically = (request: BatchRequest, operations: JsonObject[]): Outcome[] =>
  request.container.atomically(() => {
    const outcomes: Outcome[] = []
    for (const operation of operations) {
      const outcome = attempt(request, operation)
      // The one that failed keeps its own status; those before it are undone and those after it not tried.
      if (isFailure(outcome))
        throw new Rollback(operations.map((_, i) => (i === outcomes.length ? outcome : dependency())))
      outcomes.push(outcome)
    }
    return outcomes
  })

/** A transactional batch: all operations of one partition key, or none. */
const transactional = (request: BatchRequest, operations: JsonObject[]): Outcome[] => {
  try {
    return runAtomically(request, operations)
  } catch (error) {
    if (error instanceof Rollback) return error.outcomes
    throw error
  }
}

const bulk = (request: BatchRequest, operations: JsonObject[]): Outcome[] => {
  let stopped = false
  return operations.map((operation) => {
    if (stopped) return dependency()
    const outcome = attempt(request, operation)
    stopped = isFailure(outcome) && !request.continueOnError
    return outcome
  })
}

/** Runs up to 100 operations. 400 for a malformed batch, 413 over 2 MiB; failures of operations are in the 207's body. */
export const runBatch = (request: BatchRequest): BatchOutcome => {
  const operations = readOperations(request.body)
  return answer(request.partitionKey === undefined ? bulk(request, operations) : transactional(request, operations))
}
