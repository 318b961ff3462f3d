import { badRequest } from '../cosmos-error.ts'
import { queryCharge } from '../items/request-charge.ts'
import { isJsonObject, type JsonObject, type Value } from '../json.ts'
import { encodePartitionKey, parsePartitionKey } from '../partition-key.ts'
import type { PartitionScope } from '../query/partition-scope.ts'
import { runQuery } from '../query/run-query.ts'
import { parseQuery } from '../sql/parse-query.ts'
import type { Parameters, Query } from '../sql/syntax.ts'
import type { ItemContainer } from '../store/item-container.ts'
import { header, jsonBody, type CosmosReply, type CosmosRequest } from './exchange.ts'
import { containerHeaders } from './item-handlers.ts'

const defaultPageSize = 1000
const maxCachedQueries = 500

/** The partition key header as a scope: a full key, or the first levels of a hierarchical one. */
export const scopeOf = (container: ItemContainer, request: CosmosRequest): PartitionScope => {
  const text = header(request, 'x-ms-documentdb-partitionkey')
  if (text === undefined) return { type: 'all' }
  const components = parsePartitionKey(text)
  const levels = container.definition.partitionKey.paths.length
  if (components.length === 0 || components.length > levels)
    throw badRequest(`The partition key has ${components.length} components; the container's has ${levels}.`)
  return { type: components.length === levels ? 'key' : 'prefix', encoded: encodePartitionKey(components) }
}

/** `x-ms-max-item-count`; absent or -1 leaves it to the server. */
export const pageSize = (request: CosmosRequest): number => {
  const text = header(request, 'x-ms-max-item-count')
  if (text === undefined || text === '-1') return defaultPageSize
  const size = Number(text)
  if (!Number.isInteger(size) || size < 1) throw badRequest(`The page size '${text.slice(0, 30)}' is invalid.`)
  return Math.min(size, 100_000)
}

/** Part of the key space, when the request names one that is not all of it. */
export const keyRange = (request: CosmosRequest): { min: string; max: string } | undefined => {
  const min = header(request, 'x-ms-start-epk')
  const max = header(request, 'x-ms-end-epk')
  if (min === undefined || max === undefined || (min === '' && max === 'FF')) return undefined
  return { min, max }
}

const readParameters = (body: JsonObject): Parameters => {
  const list = body['parameters'] ?? []
  if (!Array.isArray(list)) throw badRequest('The query parameters are not an array.')
  const parameters = new Map<string, Value>()
  for (const entry of list) {
    const name = isJsonObject(entry) ? entry['name'] : undefined
    if (!isJsonObject(entry) || typeof name !== 'string' || !name.startsWith('@'))
      throw badRequest('A query parameter has no name that starts with @.')
    parameters.set(name, entry['value'])
  }
  return parameters
}

export const feedReply = (
  container: ItemContainer,
  documents: readonly string[],
  continuation: string | undefined,
): CosmosReply => {
  const body = `{"_rid":"${container.rid}","Documents":[${documents.join(',')}],"_count":${documents.length}}`
  return {
    status: 200,
    headers: {
      ...containerHeaders(container),
      'x-ms-item-count': String(documents.length),
      ...(continuation === undefined ? {} : { 'x-ms-continuation': continuation }),
    },
    body,
    charge: queryCharge(documents.length, body.length),
  }
}

/** Queries and read-all over a container's items. Parsed queries are kept: sweepers and routers repeat a few texts. */
export class QueryHandlers {
  readonly #parsed = new Map<string, Query>()

  handleQuery(container: ItemContainer, request: CosmosRequest): CosmosReply {
    const body = jsonBody(request)
    if (keyRange(request) !== undefined)
      throw badRequest('Queries over a part of the key space are not supported; there is one partition range.')
    return this.#run(container, request, queryText(body), readParameters(body))
  }

  handleReadAll(container: ItemContainer, request: CosmosRequest): CosmosReply {
    return this.#run(container, request, 'SELECT * FROM c', new Map())
  }

  /**
   * The plan an SDK asks for beside every query, and follows when told to pipeline. There is one partition range and the
   * server answers every query whole, so the plan leaves nothing to the client.
   */
  handlePlan(container: ItemContainer, request: CosmosRequest): CosmosReply {
    this.#parse(queryText(jsonBody(request)))
    return { status: 200, headers: containerHeaders(container), body: emptyPlan, charge: 0 }
  }

  #parse(text: string): Query {
    const known = this.#parsed.get(text)
    if (known !== undefined) return known
    if (this.#parsed.size >= maxCachedQueries) this.#parsed.clear()
    const query = parseQuery(text)
    this.#parsed.set(text, query)
    return query
  }

  #run(container: ItemContainer, request: CosmosRequest, text: string, parameters: Parameters): CosmosReply {
    const page = runQuery(container, {
      query: this.#parse(text),
      text,
      parameters,
      scope: scopeOf(container, request),
      maxItems: pageSize(request),
      continuation: header(request, 'x-ms-continuation'),
      nowMs: request.nowMs,
    })
    return feedReply(container, page.results, page.continuation)
  }
}

const queryText = (body: JsonObject): string => {
  const text = body['query']
  if (typeof text !== 'string') throw badRequest('The query text is missing.')
  return text
}

const emptyPlan = JSON.stringify({
  partitionedQueryExecutionInfoVersion: 2,
  queryInfo: {
    distinctType: 'None',
    top: null,
    offset: null,
    limit: null,
    orderBy: [],
    orderByExpressions: [],
    groupByExpressions: [],
    groupByAliases: [],
    aggregates: [],
    groupByAliasToAggregateType: {},
    rewrittenQuery: '',
    hasSelectValue: false,
    hasNonStreamingOrderBy: false,
  },
  queryRanges: [{ min: '', max: 'FF', isMinInclusive: true, isMaxInclusive: false }],
})
