import { badRequest } from '../cosmos-error.ts'
import type { Value } from '../json.ts'
import { accumulator } from './aggregates.ts'
import {
  compileExpression,
  objectOf,
  type AggregateCall,
  type Evaluate,
  type Scope,
  type Slots,
} from './compile-expression.ts'
import type { Expression, Parameters, Projection, Query, Source } from './syntax.ts'
import { canonicalText, compareForOrder } from './values.ts'

type Rows = (slots: Slots, items: Iterable<Value>) => Iterable<Slots>

const rootName = (expression: Expression): string | undefined => {
  if (expression.type === 'member') return rootName(expression.object)
  return expression.type === 'identifier' ? expression.name : undefined
}

/** The rows of a source's value: its elements, or itself when defined. */
function* spread(value: Value, iterate: boolean): Iterable<Value> {
  if (!iterate) {
    if (value !== undefined) yield value
  } else if (Array.isArray(value)) yield* value
}

/** Adds one source: every outer row is repeated for each of the source's values, put into the source's slot. */
const compileSource = (source: Source, outer: Rows | undefined, scope: Scope): { rows: Rows; scope: Scope } => {
  const slot = scope.slots.next
  scope.slots.next += 1
  const inner = { ...scope, aliases: new Map([...scope.aliases, [source.alias, slot]]) }
  const each = (values: (slots: Slots) => Iterable<Value>): Rows =>
    function* rows(slots, items) {
      for (const row of outer?.(slots, items) ?? [slots])
        for (const value of values(row)) {
          row[slot] = value
          yield row
        }
    }
  if (source.from.type === 'query') {
    const subquery = scope.compileSubquery(source.from, scope)
    const values = (slots: Slots): Iterable<Value> =>
      source.iterate ? [...subquery(slots)].flatMap((value) => (Array.isArray(value) ? value : [])) : subquery(slots)
    return { rows: each(values), scope: inner }
  }
  const root = rootName(source.from)
  if (root !== undefined && scope.aliases.has(root)) {
    const value = compileExpression(source.from, scope)
    return { rows: each((slots) => spread(value(slots), source.iterate)), scope: inner }
  }
  // The first name in FROM stands for the container whatever it is called.
  const itemScope = { ...scope, aliases: new Map([...scope.aliases, [root ?? '', slot]]) }
  const value = compileExpression(source.from, itemScope)
  const rows: Rows = function* rows(slots, items) {
    for (const row of outer?.(slots, items) ?? [slots])
      for (const item of items) {
        row[slot] = item
        for (const element of spread(value(row), source.iterate)) {
          row[slot] = element
          yield row
        }
      }
  }
  return { rows, scope: source.alias === root ? itemScope : inner }
}

const compileProjection = (select: Projection, query: Query, scope: Scope): Evaluate => {
  if (select.type === 'value') return compileExpression(select.expression, scope)
  if (select.type === 'star') {
    const slot = scope.aliases.get(query.sources[0]?.alias ?? '')
    return (slots) => (slot === undefined ? undefined : slots[slot])
  }
  const properties = select.items.map(({ name, expression }) => [name, compileExpression(expression, scope)] as const)
  return (slots) => objectOf(properties, slots)
}

/** One row per group, holding the group's first row and the results of the aggregates. */
const grouped = (rows: Iterable<Slots>, keys: Evaluate[], aggregates: AggregateCall[], empty: Slots): Slots[] => {
  const start = (row: Slots) => ({ row: [...row], folds: aggregates.map(({ name }) => accumulator(name)) })
  const groups = new Map<string, ReturnType<typeof start>>()
  // Without GROUP BY there is exactly one group, even over no rows.
  if (keys.length === 0) groups.set('', start(empty))
  for (const row of rows) {
    const key = keys.map((evaluate) => canonicalText(evaluate(row))).join('\n')
    const group = groups.get(key) ?? start(row)
    groups.set(key, group)
    for (const [i, { argument }] of aggregates.entries()) group.folds[i]?.add(argument(row))
  }
  return [...groups.values()].map(({ row, folds }) => {
    for (const [i, { slot }] of aggregates.entries()) row[slot] = folds[i]?.result()
    return row
  })
}

const sorted = (
  rows: Iterable<Slots>,
  orders: { evaluate: Evaluate; descending: boolean }[],
  keepUndefined: boolean,
): Slots[] => {
  const keyed: { row: Slots; keys: Value[] }[] = []
  for (const row of rows) {
    const keys = orders.map(({ evaluate }) => evaluate(row))
    if (keepUndefined || keys[0] !== undefined) keyed.push({ row: [...row], keys })
  }
  keyed.sort((a, b) => {
    for (const [i, { descending }] of orders.entries()) {
      const order = compareForOrder(a.keys[i], b.keys[i])
      if (order !== 0) return descending ? -order : order
    }
    return 0
  })
  return keyed.map(({ row }) => row)
}

const countOf = (expression: Expression | undefined, scope: Scope, clause: string): number | undefined => {
  if (expression === undefined) return undefined
  const count = compileExpression(expression, scope)([])
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 0)
    throw badRequest(`The ${clause} count is not a non-negative integer.`)
  return count
}

function* window(values: Iterable<Value>, offset: number, limit: number): Iterable<Value> {
  let index = 0
  if (limit <= 0) return
  for (const value of values) {
    if (index >= offset) yield value
    index += 1
    if (index >= offset + limit) return
  }
}

function* withoutRepeats(values: Iterable<Value>): Iterable<Value> {
  const seen = new Set<string>()
  for (const value of values) {
    const key = canonicalText(value)
    if (seen.has(key)) continue
    seen.add(key)
    yield value
  }
}

function* defined(rows: Iterable<Slots>, project: Evaluate): Iterable<Value> {
  for (const row of rows) {
    const value = project(row)
    if (value !== undefined) yield value
  }
}

function* matching(rows: Iterable<Slots>, condition: Evaluate): Iterable<Slots> {
  for (const row of rows) if (condition(row) === true) yield row
}

const compile = (
  query: Query,
  outer: Scope,
  keepUndefined: boolean,
): ((slots: Slots, items: Iterable<Value>) => Iterable<Value>) => {
  let scope = outer
  let rows: Rows = (slots) => [slots]
  for (const [i, source] of query.sources.entries())
    ({ rows, scope } = compileSource(source, i === 0 ? undefined : rows, scope))
  const plain = { ...scope, aggregates: undefined }
  const where = query.where === undefined ? undefined : compileExpression(query.where, plain)
  const keys = query.groupBy.map((expression) => compileExpression(expression, plain))
  const aggregates: AggregateCall[] = []
  const project = compileProjection(query.select, query, { ...scope, aggregates })
  const orders = query.orderBy.map(({ expression, descending }) => ({
    evaluate: compileExpression(expression, { ...scope, aggregates }),
    descending,
  }))
  const offset = countOf(query.offset, scope, 'OFFSET') ?? 0
  const limit = Math.min(countOf(query.limit, scope, 'LIMIT') ?? Infinity, countOf(query.top, scope, 'TOP') ?? Infinity)
  return (slots, items) => {
    let current = rows(slots, items)
    if (where !== undefined) current = matching(current, where)
    if (aggregates.length > 0 || keys.length > 0) current = grouped(current, keys, aggregates, slots)
    if (orders.length > 0) current = sorted(current, orders, keepUndefined || orders.length > 1)
    const values = defined(current, project)
    return window(query.distinct ? withoutRepeats(values) : values, offset, limit)
  }
}

export interface CompileOptions {
  parameters: Parameters
  nowMs: number
  /** Whether ORDER BY one property keeps items that lack it (the indexing policy names the path explicitly). */
  keepUndefined?: boolean
}

/** Compiles a query into a function from items to results: the reference semantics, in JavaScript. Throws 400. */
export const compileQuery = (query: Query, options: CompileOptions): ((items: Iterable<Value>) => Iterable<Value>) => {
  const keepUndefined = options.keepUndefined === true
  const scope: Scope = {
    aliases: new Map(),
    parameters: options.parameters,
    nowMs: options.nowMs,
    slots: { next: 0 },
    aggregates: undefined,
    compileSubquery: (subquery, inner) => {
      const run = compile(subquery, inner, keepUndefined)
      return (slots) => run(slots, [])
    },
  }
  const run = compile(query, scope, keepUndefined)
  return (items) => run([], items)
}
