import { badRequest } from '../cosmos-error.ts'
import { runBatch } from '../items/batch.ts'
import { readChanges } from '../items/change-feed.ts'
import { flatCharge } from '../items/request-charge.ts'
import { encodePartitionKey, parsePartitionKey } from '../partition-key.ts'
import type { ItemContainer } from '../store/item-container.ts'
import { header, isTrue, type CosmosReply, type CosmosRequest } from './exchange.ts'
import { containerHeaders } from './item-handlers.ts'
import { feedReply, keyRange, pageSize, scopeOf } from './query-handlers.ts'

const startingLsn = (container: ItemContainer, ifNoneMatch: string | undefined): number => {
  if (ifNoneMatch === undefined) return 0
  if (ifNoneMatch === '*') return container.lastLsn
  const lsn = /^"?(\d{1,15})"?$/.exec(ifNoneMatch)?.[1]
  if (lsn === undefined) throw badRequest('The change feed continuation in If-None-Match is invalid.')
  return Number(lsn)
}

const secondsOf = (date: string | undefined): number | undefined => {
  if (date === undefined) return undefined
  const milliseconds = Date.parse(date)
  if (Number.isNaN(milliseconds)) throw badRequest('If-Modified-Since is not a date.')
  return Math.floor(milliseconds / 1000)
}

/** GET on `docs` with `A-IM: Incremental Feed`. 304 with the etag to go on from when nothing has changed. */
export const handleChangeFeed = (container: ItemContainer, request: CosmosRequest): CosmosReply => {
  if (!/^incremental feed$/i.test(header(request, 'a-im') ?? ''))
    throw badRequest('Only the latest-version change feed is available: the account keeps no earlier versions.')
  const changes = readChanges(container, {
    scope: scopeOf(container, request),
    range: keyRange(request),
    afterLsn: startingLsn(container, header(request, 'if-none-match')),
    sinceSeconds: secondsOf(header(request, 'if-modified-since')),
    maxItems: pageSize(request),
  })
  const etag = `"${changes.lsn}"`
  if (changes.items.length === 0)
    return { status: 304, headers: { ...containerHeaders(container), etag }, body: '', charge: flatCharge }
  const reply = feedReply(container, changes.items, undefined)
  return { ...reply, headers: { ...reply.headers, etag } }
}

/** POST on `docs` with a batch: transactional when it says atomic, bulk otherwise. */
export const handleBatch = (container: ItemContainer, request: CosmosRequest): CosmosReply => {
  const atomic = isTrue(request, 'x-ms-cosmos-batch-atomic')
  const key = header(request, 'x-ms-documentdb-partitionkey')
  if (atomic && key === undefined) throw badRequest('PartitionKey value must be supplied for this operation.')
  const outcome = runBatch({
    container,
    body: request.body,
    partitionKey: atomic && key !== undefined ? parsePartitionKey(key) : undefined,
    continueOnError: isTrue(request, 'x-ms-cosmos-batch-continue-on-error'),
    minimal: header(request, 'prefer') === 'return=minimal',
    nowMs: request.nowMs,
  })
  return { status: outcome.status, headers: containerHeaders(container), body: outcome.body, charge: outcome.charge }
}

/** POST on `operations/partitionkeydelete`: every item of one logical partition. */
export const handlePartitionDelete = (container: ItemContainer, request: CosmosRequest): CosmosReply => {
  const key = header(request, 'x-ms-documentdb-partitionkey')
  if (key === undefined) throw badRequest('PartitionKey value must be supplied for this operation.')
  const components = parsePartitionKey(key)
  if (components.length !== container.definition.partitionKey.paths.length)
    throw badRequest('Deleting a partition takes its full key.')
  container.removePartition(encodePartitionKey(components))
  return { status: 200, headers: containerHeaders(container), body: '', charge: flatCharge }
}
