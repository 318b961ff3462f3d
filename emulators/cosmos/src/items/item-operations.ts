import { badRequest, conflict, notFound, preconditionFailed, substatus } from '../cosmos-error.ts'
import { isJsonObject, nestingDepth, type Json, type JsonObject } from '../json.ts'
import { encodePartitionKey, hasPartitionKey, type PartitionKeyComponent } from '../partition-key.ts'
import { etagOf } from '../resource-id.ts'
import { compileQuery } from '../sql/compile-query.ts'
import { parseCondition } from '../sql/parse-query.ts'
import { UniqueViolation, type ItemContainer, type StoredItem } from '../store/item-container.ts'
import { applyPatch, readPatch } from './patch.ts'

export interface ItemAddress {
  container: ItemContainer
  partitionKey: readonly PartitionKeyComponent[]
  ifMatch?: string | undefined
  ifNoneMatch?: string | undefined
  nowMs: number
}

export interface ItemResult {
  status: 200 | 201 | 204 | 304
  etag: string
  /** Absent for a deleted item, and for a read that was not modified. */
  body: string | undefined
  /** Bytes of the item written, read or deleted: what the request charge is counted from. */
  bytes: number
  kind: 'read' | 'write'
}

const maxDepth = 128
const maxIdBytes = 1023

const done = (
  status: ItemResult['status'],
  stored: StoredItem,
  kind: ItemResult['kind'],
  withBody = true,
): ItemResult => ({
  status,
  etag: etagOf(stored.lsn, stored.seconds),
  body: withBody ? stored.body : undefined,
  bytes: stored.body.length,
  kind,
})

/** Parses an item as sent; 400 when it is not a JSON object or nested too deeply. */
export const parseItem = (text: string): JsonObject => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw badRequest('The request payload is invalid. Ensure to provide a valid request payload.')
  }
  return checkItem(value)
}

export const checkItem = (value: unknown): JsonObject => {
  if (!isJsonObject(value)) throw badRequest('The request payload is invalid: the item is not a JSON object.')
  if (nestingDepth(value, maxDepth) > maxDepth) throw badRequest(`The item is nested deeper than ${maxDepth} levels.`)
  return value
}

const idOf = (item: JsonObject): string => {
  const { id } = item
  if (typeof id !== 'string' || id === '')
    throw badRequest("The input content is invalid because the required properties - 'id; ' - are missing")
  if (/[/\\#]/.test(id)) throw badRequest(`The id '${id.slice(0, 300)}' contains one of the characters '/', '\\', '#'.`)
  if (Buffer.byteLength(id) > maxIdBytes) throw badRequest(`The id is longer than ${maxIdBytes} bytes.`)
  return id
}

const keyFor = ({ container, partitionKey }: ItemAddress): string => {
  if (partitionKey.length !== container.definition.partitionKey.paths.length)
    throw badRequest(
      "Partition key provided either doesn't correspond to definition in the collection or doesn't match partition key field values specified in the document.",
      {
        substatus: substatus.partitionKeyMismatch,
      },
    )
  return encodePartitionKey(partitionKey)
}

const checkSameKey = ({ container, partitionKey }: ItemAddress, item: JsonObject): void => {
  if (!hasPartitionKey(container.definition.partitionKey, item, partitionKey))
    throw badRequest("PartitionKey extracted from document doesn't match the one specified in the header", {
      substatus: substatus.partitionKeyMismatch,
    })
}

const checkIfMatch = ({ ifMatch }: ItemAddress, stored: StoredItem): void => {
  if (ifMatch !== undefined && ifMatch !== '*' && ifMatch !== etagOf(stored.lsn, stored.seconds))
    throw preconditionFailed()
}

const brokenUniqueKey = () => conflict('Unique index constraint violation.')

/** A broken unique key is a 409. */
const written = (write: () => StoredItem): StoredItem => {
  try {
    return write()
  } catch (error) {
    if (!(error instanceof UniqueViolation)) throw error
    throw brokenUniqueKey()
  }
}

export const readItem = (address: ItemAddress, id: string): ItemResult => {
  const stored = address.container.find(keyFor(address), id)
  if (stored === undefined) throw notFound()
  const unchanged = address.ifNoneMatch !== undefined && address.ifNoneMatch === etagOf(stored.lsn, stored.seconds)
  return unchanged ? done(304, stored, 'read', false) : done(200, stored, 'read')
}

export const createItem = (address: ItemAddress, item: JsonObject): ItemResult => {
  const encoded = keyFor(address)
  const id = idOf(item)
  checkSameKey(address, item)
  try {
    return done(201, address.container.insert(encoded, id, item, address.nowMs), 'write')
  } catch (error) {
    if (!(error instanceof UniqueViolation)) throw error
    // Either the id is taken or a unique key is; most creates are of something new, and are not to pay for a look first.
    throw address.container.find(encoded, id) === undefined ? brokenUniqueKey() : conflict()
  }
}

export const upsertItem = (address: ItemAddress, item: JsonObject): ItemResult => {
  const encoded = keyFor(address)
  const id = idOf(item)
  checkSameKey(address, item)
  const existing = address.container.find(encoded, id)
  if (existing === undefined) {
    // Documented: If-Match on an upsert that creates is ignored.
    return done(
      201,
      written(() => address.container.insert(encoded, id, item, address.nowMs)),
      'write',
    )
  }
  if (address.ifNoneMatch === '*') throw conflict()
  checkIfMatch(address, existing)
  return done(
    200,
    written(() => address.container.replace(existing, item, address.nowMs)),
    'write',
  )
}

export const replaceItem = (address: ItemAddress, id: string, item: JsonObject): ItemResult => {
  const encoded = keyFor(address)
  if (idOf(item) !== id)
    throw badRequest('The id of an item cannot be changed: it differs from the one in the request address.')
  checkSameKey(address, item)
  const existing = address.container.find(encoded, id)
  if (existing === undefined) throw notFound()
  checkIfMatch(address, existing)
  return done(
    200,
    written(() => address.container.replace(existing, item, address.nowMs)),
    'write',
  )
}

export const deleteItem = (address: ItemAddress, id: string): ItemResult => {
  const existing = address.container.find(keyFor(address), id)
  if (existing === undefined) throw notFound()
  checkIfMatch(address, existing)
  address.container.remove(existing)
  return done(204, existing, 'write', false)
}

const holds = (condition: string, item: Json, nowMs: number): boolean => {
  const run = compileQuery(parseCondition(condition), { parameters: new Map(), nowMs })
  return [...run([item])].length > 0
}

export const patchItem = (address: ItemAddress, id: string, body: Json): ItemResult => {
  const encoded = keyFor(address)
  const { operations, condition } = readPatch(body)
  const existing = address.container.find(encoded, id)
  if (existing === undefined) throw notFound()
  checkIfMatch(address, existing)
  const item = JSON.parse(existing.body) as JsonObject
  if (condition !== undefined && !holds(condition, item, address.nowMs)) throw preconditionFailed()
  applyPatch(item, operations)
  checkItem(item)
  if (!hasPartitionKey(address.container.definition.partitionKey, item, address.partitionKey))
    throw badRequest('A patch cannot change the partition key.')
  return done(
    200,
    written(() => address.container.replace(existing, item, address.nowMs)),
    'write',
  )
}
