import { containerNotFound, CosmosError } from '../cosmos-error.ts'
import type { Catalog } from '../store/catalog.ts'
import type { ItemContainer } from '../store/item-container.ts'
import {
  accountReply,
  databaseNamed,
  handleContainer,
  handleContainers,
  handleDatabase,
  handleDatabases,
  handlePartitionKeyRanges,
} from './catalog-handlers.ts'
import { header, isTrue, type CosmosReply, type CosmosRequest } from './exchange.ts'
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
    const [dbs, databaseId, colls, containerId, feed, ...rest] = request.path.segments
    if (dbs === undefined) return accountReply(this.#endpoint())
    if (dbs !== 'dbs') throw unknownResource(request)
    if (databaseId === undefined) return handleDatabases(this.#catalog, request)
    const database = this.#catalog.databases.get(databaseId)
    if (colls === undefined) return handleDatabase(this.#catalog, databaseNamed(this.#catalog, databaseId), request)
    if (colls !== 'colls') throw unknownResource(request)
    if (containerId === undefined)
      return handleContainers(this.#catalog, databaseNamed(this.#catalog, databaseId), request)
    const container = database?.containers.get(containerId)
    if (database === undefined || container === undefined)
      throw feed === undefined ? new CosmosError(404, 'Resource Not Found') : containerNotFound()
    container.purgeExpired(request.nowMs)
    if (feed === undefined) return handleContainer(this.#catalog, database, container, request)
    if (feed === 'pkranges' && rest.length === 0) return handlePartitionKeyRanges(container, request)
    if (feed !== 'docs' || rest.length > 1) throw unknownResource(request)
    return rest[0] === undefined ? this.#itemFeed(container, request) : handleItem(container, rest[0], request)
  }

  #itemFeed(container: ItemContainer, request: CosmosRequest): CosmosReply {
    if (request.method === 'GET') return this.#queries.handleReadAll(container, request)
    if (request.method !== 'POST') throw new CosmosError(405, `The method ${request.method} is not allowed on items.`)
    if (isTrue(request, 'x-ms-cosmos-is-query-plan-request')) return this.#queries.handlePlan(container, request)
    const isQuery =
      isTrue(request, 'x-ms-documentdb-isquery') || header(request, 'content-type') === 'application/query+json'
    return isQuery ? this.#queries.handleQuery(container, request) : handleItemPost(container, request)
  }
}

const unknownResource = (request: CosmosRequest): CosmosError =>
  new CosmosError(501, `The emulator has no resource ${request.path.resourceType || request.path.segments.join('/')}.`)
