import { containerNotFound, CosmosError, notFound } from '../cosmos-error.ts'
import type { Catalog } from '../store/catalog.ts'
import type { ItemContainer } from '../store/item-container.ts'
import {
  accountReply,
  handleContainer,
  handleContainers,
  handleDatabase,
  handleDatabases,
  handlePartitionKeyRanges,
} from './catalog-handlers.ts'
import { header, isTrue, type CosmosReply, type CosmosRequest } from './exchange.ts'
import { handleBatch, handleChangeFeed, handlePartitionDelete } from './feed-handlers.ts'
import { handleItem, handleItemPost } from './item-handlers.ts'
import { QueryHandlers } from './query-handlers.ts'

/** Finds the handler of a request. Handlers run synchronously; the caller releases the reply after the commit. */
export class Router {
  readonly #catalog: Catalog
  readonly #queries = new QueryHandlers()
  readonly #endpoint: () => string

  constructor(catalog: Catalog, endpoint: () => string) {
    this.#catalog = catalog
    this.#endpoint = endpoint
  }

  handle(request: CosmosRequest): CosmosReply {
    const [dbs, databaseId, colls, containerId, feed] = request.path.segments
    if (dbs === undefined) return accountReply(this.#endpoint())
    if (dbs !== 'dbs' || (colls !== undefined && colls !== 'colls')) throw unknownResource(request)
    if (databaseId === undefined) return handleDatabases(this.#catalog, request)
    const database = this.#catalog.databases.get(databaseId)
    if (database === undefined) throw feed === undefined ? notFound() : containerNotFound()
    if (colls === undefined) return handleDatabase(this.#catalog, database, request)
    if (containerId === undefined) return handleContainers(this.#catalog, database, request)
    const container = database.containers.get(containerId)
    if (container === undefined) throw feed === undefined ? notFound() : containerNotFound()
    container.purgeExpired(request.nowMs)
    if (feed === undefined) return handleContainer(this.#catalog, database, container, request)
    return this.#insideContainer(container, request)
  }

  #insideContainer(container: ItemContainer, request: CosmosRequest): CosmosReply {
    const [feed, id, ...deeper] = request.path.segments.slice(4)
    if (feed === 'docs' && id === undefined) return this.#itemFeed(container, request)
    if (feed === 'docs' && id !== undefined && deeper.length === 0) return handleItem(container, id, request)
    if (feed === 'pkranges' && id === undefined) return handlePartitionKeyRanges(container, request)
    if (feed === 'operations' && id === 'partitionkeydelete' && request.method === 'POST')
      return handlePartitionDelete(container, request)
    throw unknownResource(request)
  }

  #itemFeed(container: ItemContainer, request: CosmosRequest): CosmosReply {
    if (request.method === 'GET')
      return header(request, 'a-im') === undefined
        ? this.#queries.handleReadAll(container, request)
        : handleChangeFeed(container, request)
    if (request.method !== 'POST') throw new CosmosError(405, `The method ${request.method} is not allowed on items.`)
    if (isTrue(request, 'x-ms-cosmos-is-query-plan-request')) return this.#queries.handlePlan(container, request)
    if (isTrue(request, 'x-ms-cosmos-is-batch-request')) return handleBatch(container, request)
    const isQuery =
      isTrue(request, 'x-ms-documentdb-isquery') || header(request, 'content-type') === 'application/query+json'
    return isQuery ? this.#queries.handleQuery(container, request) : handleItemPost(container, request)
  }
}

const unknownResource = (request: CosmosRequest): CosmosError =>
  new CosmosError(501, `The emulator has no resource ${request.path.resourceType || request.path.segments.join('/')}.`)
