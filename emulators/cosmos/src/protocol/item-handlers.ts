import { badRequest, CosmosError } from '../cosmos-error.ts'
import type { Json } from '../json.ts'
import {
  createItem,
  deleteItem,
  parseItem,
  patchItem,
  readItem,
  replaceItem,
  upsertItem,
  type ItemAddress,
  type ItemResult,
} from '../items/item-operations.ts'
import { readCharge, writeCharge } from '../items/request-charge.ts'
import { parsePartitionKey } from '../partition-key.ts'
import type { ItemContainer } from '../store/item-container.ts'
import { header, isTrue, type CosmosReply, type CosmosRequest } from './exchange.ts'

/** Headers of every answer about a container's items; the session token lets clients read their own writes. */
export const containerHeaders = (container: ItemContainer): Record<string, string> => ({
  'x-ms-session-token': `0:-1#${container.lastLsn}`,
  lsn: String(container.lastLsn),
  'x-ms-documentdb-partitionkeyrangeid': '0',
  'x-ms-content-path': container.rid,
})

const addressOf = (container: ItemContainer, request: CosmosRequest): ItemAddress => {
  const key = header(request, 'x-ms-documentdb-partitionkey')
  if (key === undefined) throw badRequest('PartitionKey value must be supplied for this operation.')
  return {
    container,
    partitionKey: parsePartitionKey(key),
    ifMatch: header(request, 'if-match'),
    ifNoneMatch: header(request, 'if-none-match'),
    nowMs: request.nowMs,
  }
}

const itemReply = (container: ItemContainer, result: ItemResult): CosmosReply => ({
  status: result.status,
  headers: { ...containerHeaders(container), etag: result.etag },
  body: result.body ?? '',
  charge: result.kind === 'read' ? readCharge(result.bytes) : writeCharge(result.bytes),
})

/** POST on `docs` that is neither a query nor a batch: create or upsert. */
export const handleItemPost = (container: ItemContainer, request: CosmosRequest): CosmosReply => {
  const item = parseItem(request.body)
  const address = addressOf(container, request)
  return itemReply(
    container,
    isTrue(request, 'x-ms-documentdb-is-upsert') ? upsertItem(address, item) : createItem(address, item),
  )
}

const parsePatch = (text: string): Json => {
  try {
    return JSON.parse(text) as Json
  } catch {
    throw badRequest('The request payload is invalid. Ensure to provide a valid request payload.')
  }
}

/** Point operations on `docs/{id}`. */
export const handleItem = (container: ItemContainer, id: string, request: CosmosRequest): CosmosReply => {
  const address = addressOf(container, request)
  switch (request.method) {
    case 'GET':
      return itemReply(container, readItem(address, id))
    case 'PUT':
      return itemReply(container, replaceItem(address, id, parseItem(request.body)))
    case 'DELETE':
      return itemReply(container, deleteItem(address, id))
    case 'PATCH':
      return itemReply(container, patchItem(address, id, parsePatch(request.body)))
    default:
      throw new CosmosError(405, `The method ${request.method} is not allowed on an item.`)
  }
}
