import { badRequest, conflict, CosmosError } from '../cosmos-error.ts'
import { flatCharge } from '../items/request-charge.ts'
import type { JsonObject } from '../json.ts'
import { databaseRid, etagOf } from '../resource-id.ts'
import type { Catalog, DatabaseEntry } from '../store/catalog.ts'
import { readContainerDefinition, readResourceId } from '../store/container-definition.ts'
import type { ItemContainer } from '../store/item-container.ts'
import { containerHeaders } from './item-handlers.ts'
import { header, jsonBody, type CosmosReply, type CosmosRequest } from './exchange.ts'

const reply = (
  status: number,
  document: JsonObject | undefined,
  headers: Record<string, string> = {},
): CosmosReply => ({
  status,
  headers: { ...headers, ...(typeof document?.['_etag'] === 'string' ? { etag: document['_etag'] } : {}) },
  body: document === undefined ? '' : JSON.stringify(document),
  charge: flatCharge,
})

const databaseDocument = (entry: DatabaseEntry): JsonObject => {
  const rid = databaseRid(entry.number)
  const _etag = etagOf(entry.number, entry.seconds)
  return {
    id: entry.id,
    _rid: rid,
    _self: `dbs/${rid}/`,
    _etag,
    _colls: 'colls/',
    _users: 'users/',
    _ts: entry.seconds,
  }
}

const containerDocument = (container: ItemContainer): JsonObject => {
  const { extra, defaultTtl, id, indexingPolicy, partitionKey, uniqueKeyPolicy } = container.definition
  return {
    ...extra,
    id,
    indexingPolicy,
    partitionKey: { ...partitionKey },
    ...(defaultTtl === undefined ? {} : { defaultTtl }),
    uniqueKeyPolicy,
    _rid: container.rid,
    _self: container.self,
    _etag: etagOf(container.number, container.seconds),
    _docs: 'docs/',
    _sprocs: 'sprocs/',
    _triggers: 'triggers/',
    _udfs: 'udfs/',
    _conflicts: 'conflicts/',
    _ts: container.seconds,
  }
}

/**
 * Feeds of databases and containers. Their queries are answered for the one form that clients send (`… WHERE r.id = @id`);
 * everything else about them is a plain list.
 */
const matchingIds = (request: CosmosRequest, entries: JsonObject[]): JsonObject[] => {
  if (request.method !== 'POST') return entries
  const body = jsonBody(request)
  const query = typeof body['query'] === 'string' ? body['query'] : ''
  if (!/\bwhere\b/i.test(query)) return entries
  const wanted = /\bwhere\s+\w+\.id\s*=\s*(?:(@\w+)|["']([^"']*)["'])\s*$/i.exec(query)
  if (wanted === null) throw badRequest('Queries over databases and containers support only WHERE r.id = … here.')
  const parameters = Array.isArray(body['parameters']) ? (body['parameters'] as JsonObject[]) : []
  const id = wanted[1] === undefined ? wanted[2] : parameters.find(({ name }) => name === wanted[1])?.['value']
  return entries.filter((entry) => entry['id'] === id)
}

export const handleDatabases = (catalog: Catalog, request: CosmosRequest): CosmosReply => {
  const isQuery = header(request, 'x-ms-documentdb-isquery') !== undefined
  if (request.method === 'POST' && !isQuery) {
    const id = readResourceId(jsonBody(request)['id'])
    return reply(201, databaseDocument(catalog.createDatabase(id, request.nowMs)))
  }
  if (request.method !== 'GET' && !isQuery)
    throw new CosmosError(405, `The method ${request.method} is not allowed on databases.`)
  const Databases = matchingIds(request, [...catalog.databases.values()].map(databaseDocument))
  return reply(200, { _rid: '', Databases, _count: Databases.length })
}

export const handleDatabase = (catalog: Catalog, entry: DatabaseEntry, request: CosmosRequest): CosmosReply => {
  if (request.method === 'GET') return reply(200, databaseDocument(entry))
  if (request.method !== 'DELETE')
    throw new CosmosError(405, `The method ${request.method} is not allowed on a database.`)
  catalog.deleteDatabase(entry)
  return reply(204, undefined)
}

export const handleContainers = (catalog: Catalog, entry: DatabaseEntry, request: CosmosRequest): CosmosReply => {
  const isQuery = header(request, 'x-ms-documentdb-isquery') !== undefined
  if (request.method === 'POST' && !isQuery) {
    const definition = readContainerDefinition(jsonBody(request))
    if (entry.containers.has(definition.id)) throw conflict()
    const container = catalog.createContainer(entry, definition, request.nowMs)
    return reply(201, containerDocument(container), containerHeaders(container))
  }
  if (request.method !== 'GET' && !isQuery)
    throw new CosmosError(405, `The method ${request.method} is not allowed on containers.`)
  const DocumentCollections = matchingIds(request, [...entry.containers.values()].map(containerDocument))
  return reply(200, { _rid: databaseRid(entry.number), DocumentCollections, _count: DocumentCollections.length })
}

export const handleContainer = (
  catalog: Catalog,
  entry: DatabaseEntry,
  container: ItemContainer,
  request: CosmosRequest,
): CosmosReply => {
  switch (request.method) {
    case 'GET':
      return reply(200, containerDocument(container), containerHeaders(container))
    case 'PUT':
      catalog.replaceContainer(
        container,
        readContainerDefinition(jsonBody(request), container.definition),
        request.nowMs,
      )
      return reply(200, containerDocument(container), containerHeaders(container))
    case 'DELETE':
      catalog.deleteContainer(entry, container)
      return reply(204, undefined)
    default:
      throw new CosmosError(405, `The method ${request.method} is not allowed on a container.`)
  }
}

/** One range covers every key, so clients never need a query plan to fan out. */
export const handlePartitionKeyRanges = (container: ItemContainer, request: CosmosRequest): CosmosReply => {
  const etag = '"1"'
  if (header(request, 'if-none-match') === etag) return { status: 304, headers: { etag }, body: '', charge: flatCharge }
  const range = {
    _rid: container.rid,
    id: '0',
    _etag: etag,
    minInclusive: '',
    maxExclusive: 'FF',
    ridPrefix: 0,
    _self: `${container.self}pkranges/0/`,
    throughputFraction: 1,
    status: 'online',
    parents: [],
    _ts: container.seconds,
  }
  return reply(
    200,
    { _rid: container.rid, PartitionKeyRanges: [range], _count: 1 },
    { ...containerHeaders(container), etag },
  )
}

/** The account document that clients with endpoint discovery read first. */
export const accountReply = (endpoint: string): CosmosReply => {
  const location = { name: 'Local', databaseAccountEndpoint: endpoint }
  return reply(200, {
    _self: '',
    id: 'sluice-cosmos-emulator',
    _rid: 'sluice-cosmos-emulator',
    media: '//media/',
    addresses: '//addresses/',
    _dbs: '//dbs/',
    writableLocations: [location],
    readableLocations: [location],
    enableMultipleWriteLocations: false,
    userReplicationPolicy: { asyncReplication: false, minReplicaSetSize: 1, maxReplicasetSize: 1 },
    userConsistencyPolicy: { defaultConsistencyLevel: 'Session' },
    systemReplicationPolicy: { minReplicaSetSize: 1, maxReplicasetSize: 1 },
    readPolicy: { primaryReadCoefficient: 1, secondaryReadCoefficient: 1 },
    queryEngineConfiguration: '{}',
  })
}
