import type { SQLInputValue } from 'node:sqlite'
import type { Json, Value } from '../json.ts'
import { compileQuery } from '../sql/compile-query.ts'
import type { Parameters, Query } from '../sql/syntax.ts'
import type { ItemContainer } from '../store/item-container.ts'
import { jsonPath } from '../store/json-path.ts'
import { decodeContinuation, encodeContinuation } from './continuation.ts'
import { checkOrderBy, namesPath, unsupportedOrderBy } from './order-by-rules.ts'
import { afterPosition, orderClause, positionOf, type SortPath } from './sort-keys.ts'
import { allOf, type Fragment } from './fragment.ts'
import { chooseIndex } from './choose-index.ts'
import { scopeCondition, type PartitionScope } from './partition-scope.ts'
import { pathOf, translateWhere } from './to-sqlite.ts'

export interface QueryRequest {
  query: Query
  /** As sent: continuation tokens are bound to it. */
  text: string
  parameters: Parameters
  scope: PartitionScope
  maxItems: number
  continuation: string | undefined
  nowMs: number
}

export interface Page {
  /** JSON texts, one per result. */
  results: string[]
  continuation: string | undefined
}

const maxPageBytes = 4 * 1024 * 1024

const whereClause = ({ sql }: Fragment): string => (sql === '' ? '' : ` WHERE ${sql}`)

/** How a query is divided between SQLite (filter, order) and JavaScript (the rest). */
interface Plan {
  filter: Fragment
  /** `INDEXED BY …`, or nothing: SQLite's own choice. */
  hint: string
  order: SortPath[]
  /** What JavaScript still runs over the rows: without the parts that SQLite has done. */
  rest: Query
}

/** The alias of `FROM c`; undefined for anything that SQLite should not filter on. */
const itemAlias = (query: Query): string | undefined => {
  const [source] = query.sources
  return source === undefined || source.iterate || source.from.type !== 'identifier' ? undefined : source.alias
}

const planQuery = (container: ItemContainer, request: QueryRequest): Plan => {
  const { query, parameters } = request
  const alias = itemAlias(query)
  if (alias === undefined) return { filter: scopeCondition(request.scope), hint: '', order: [], rest: query }
  const order = query.orderBy.map(({ expression, descending }) => {
    const path = pathOf(expression, alias)
    if (path === undefined || path.length === 0) throw unsupportedOrderBy(expression)
    return { path, descending }
  })
  checkOrderBy(container.definition, order)
  const where = translateWhere(query.where, alias, parameters)
  const [first] = order
  container.composite.used(order, container.itemCount)
  // Several properties are ordered by a composite index, or the query was refused above; one on each would only cost writes.
  const ordered = order.length === 1 ? first?.path : undefined
  container.indexes.used([...where.filters.map(({ path }) => path), ordered], container.itemCount)
  const dropsUndefined = order.length === 1 && first !== undefined && !namesPath(container.definition, first.path)
  const defined = dropsUndefined ? [{ sql: `json_type(body, ${jsonPath(first.path)}) IS NOT NULL`, binds: [] }] : []
  const scope = scopeCondition(request.scope)
  // Ordering by a property that a condition fixes would keep SQLite from using the composite index for the rest.
  const fixed = new Set(
    where.filters.flatMap(({ path, fixed }) => (path !== undefined && fixed === true ? [jsonPath(path)] : [])),
  )
  const varying = order.filter(({ path }) => !fixed.has(jsonPath(path)))
  return {
    filter: allOf([scope, ...where.filters, ...defined]),
    hint: chooseIndex(container, scope, where.filters, varying.length > 0),
    order: varying,
    rest: { ...query, where: where.residual, orderBy: [] },
  }
}

const isCount = (query: Query): boolean => {
  if (query.sources.length !== 1 || query.where !== undefined || query.groupBy.length > 0) return false
  if (query.select.type !== 'value') return false
  const { expression } = query.select
  return expression.type === 'call' && expression.name === 'COUNT' && expression.arguments[0]?.type === 'literal'
}

/** Whether each item yields at most one result by itself, so that a page can end at any item. */
const isItemwise = (query: Query): boolean => {
  const probe = JSON.stringify(query.select)
  const aggregates = /"type":"call","name":"(COUNT|SUM|AVG|MIN|MAX)"/.test(probe)
  return (
    !aggregates &&
    query.sources.length === 1 &&
    query.groupBy.length === 0 &&
    !query.distinct &&
    query.top === undefined &&
    query.limit === undefined
  )
}

const collectPage = (container: ItemContainer, request: QueryRequest, plan: Plan): Page => {
  const { rest, order } = plan
  const start = request.continuation === undefined ? undefined : decodeContinuation(request.continuation, request.text)
  const after =
    start !== undefined && 'position' in start ? afterPosition(order, start.position) : { sql: '', binds: [] }
  const where = allOf([plan.filter, after])
  const raw = rest.select.type === 'star' && rest.where === undefined
  const run = compileQuery(rest, { parameters: request.parameters, nowMs: request.nowMs })
  // A limit lets SQLite keep only the best rows while sorting; with a residual condition it cannot know how many to keep.
  const limit = rest.where === undefined ? ` LIMIT ${request.maxItems + 1}` : ''
  const sql = `SELECT seq, body FROM ${container.table}${plan.hint}${whereClause(where)} ORDER BY ${orderClause(order)}${limit}`
  const results: string[] = []
  let bytes = 0
  let last: { body: string; sequence: number } | undefined
  for (const row of container.statement(sql).iterate(...where.binds)) {
    const body = row['body'] as string
    const outcomes = raw ? [body] : [...run([JSON.parse(body) as Json])].map((value) => JSON.stringify(value))
    for (const outcome of outcomes) {
      if (last !== undefined && (results.length >= request.maxItems || bytes + outcome.length > maxPageBytes)) {
        const position = positionOf(order, JSON.parse(last.body) as Json, last.sequence)
        return { results, continuation: encodeContinuation({ position }, request.text) }
      }
      results.push(outcome)
      bytes += outcome.length
    }
    if (outcomes.length > 0) last = { body, sequence: row['seq'] as number }
  }
  return { results, continuation: undefined }
}

function* items(container: ItemContainer, sql: string, binds: SQLInputValue[]): Iterable<Value> {
  for (const row of container.statement(sql).iterate(...binds)) yield JSON.parse(row['body'] as string) as Json
}

/** Results that are not items are computed anew for every page, and those of earlier pages skipped. */
const collectResults = (container: ItemContainer, request: QueryRequest, plan: Plan): Page => {
  const start =
    request.continuation === undefined ? { skip: 0 } : decodeContinuation(request.continuation, request.text)
  const skip = 'skip' in start ? start.skip : 0
  const where = plan.filter
  if (isCount(plan.rest)) {
    const row = container
      .statement(`SELECT count(*) AS n FROM ${container.table}${plan.hint}${whereClause(where)}`)
      .get(...where.binds)
    return { results: [String(row?.['n'] ?? 0)], continuation: undefined }
  }
  const sql = `SELECT body FROM ${container.table}${plan.hint}${whereClause(where)} ORDER BY ${orderClause(plan.order)}`
  const run = compileQuery(plan.rest, { parameters: request.parameters, nowMs: request.nowMs })
  const results: string[] = []
  let index = 0
  for (const value of run(items(container, sql, where.binds))) {
    index += 1
    if (index <= skip) continue
    if (results.length >= request.maxItems)
      return { results, continuation: encodeContinuation({ skip: index - 1 }, request.text) }
    results.push(JSON.stringify(value))
  }
  return { results, continuation: undefined }
}

/** Runs one page of a query over the items in scope. Throws 400. */
export const runQuery = (container: ItemContainer, request: QueryRequest): Page => {
  const plan = planQuery(container, request)
  return isItemwise(request.query) && itemAlias(request.query) !== undefined
    ? collectPage(container, request, plan)
    : collectResults(container, request, plan)
}
