import { createRequire } from 'node:module'
import type * as zeit from '@zeit/cosmosdb-query'
import * as fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import type { Json, JsonObject, Value } from '../json.ts'
import { compileQuery } from '../sql/compile-query.ts'
import { parseQuery } from '../sql/parse-query.ts'
import { Catalog } from '../store/catalog.ts'
import { readContainerDefinition } from '../store/container-definition.ts'
import type { ItemContainer } from '../store/item-container.ts'
import { runQuery } from './run-query.ts'

// A CommonJS package whose default export loaders disagree about.
const { default: zeitQuery } = createRequire(import.meta.url)('@zeit/cosmosdb-query') as typeof zeit.default

// Three engines: SQLite (what the server runs), our JavaScript evaluation of the whole query, and an independent
// implementation of the language. Values are few, so that comparisons often meet equal values of several types.
const scalar = fc.constantFrom<Json>(
  null,
  true,
  false,
  0,
  1,
  -1,
  2.5,
  1e21,
  9007199254740994,
  '',
  '0',
  '1',
  'a',
  'ab',
  'b',
  'ü',
  '\u{1F600}',
  '\uFFFD',
  "it's",
)
const value = fc.oneof(
  { weight: 6, arbitrary: scalar },
  fc.constantFrom<Json>([], [1, 'a'], {}, { x: 1 }, { y: null }, { x: 'a' }),
)
const item = fc.record({ a: value, b: value, c: value }, { requiredKeys: [] })
const items = fc.array(item, { maxLength: 12 })

interface Case {
  sql: string
  parameters: Json[]
}

const path = fc.constantFrom('c.a', 'c.b', 'c["c"]', 'c.a.x', 'c.b[0]')
const operator = fc.constantFrom('=', '!=', '<', '<=', '>', '>=')
const constant = (json: Json): Case => ({ sql: '?', parameters: [json] })
const joined = (format: (parts: string[]) => string, ...parts: Case[]): Case => ({
  sql: format(parts.map(({ sql }) => sql)),
  parameters: parts.flatMap(({ parameters }) => parameters),
})

const atom: fc.Arbitrary<Case> = fc.oneof(
  fc.tuple(path, operator, value).map(([left, op, right]) => joined(([r]) => `${left} ${op} ${r}`, constant(right))),
  fc.tuple(scalar, operator, path).map(([left, op, right]) => joined(([l]) => `${l} ${op} ${right}`, constant(left))),
  fc
    .tuple(path, fc.array(scalar, { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([left, list, not]) =>
      joined((parts) => `${left} ${not ? 'NOT ' : ''}IN (${parts.join(', ')})`, ...list.map(constant)),
    ),
  fc
    .tuple(path, scalar, scalar)
    .map(([left, low, high]) => joined(([l, h]) => `(${left} BETWEEN ${l} AND ${h})`, constant(low), constant(high))),
  fc
    .tuple(
      fc.constantFrom(
        'IS_DEFINED',
        'IS_NULL',
        'IS_STRING',
        'IS_NUMBER',
        'IS_BOOL',
        'IS_ARRAY',
        'IS_OBJECT',
        'IS_PRIMITIVE',
      ),
      path,
    )
    .map(([name, of]) => ({ sql: `${name}(${of})`, parameters: [] })),
  fc
    .tuple(fc.constantFrom('STARTSWITH', 'CONTAINS', 'ENDSWITH'), path, scalar)
    .map(([name, of, part]) => joined(([p]) => `${name}(${of}, ${p})`, constant(part))),
  fc.tuple(path, operator, path).map(([left, op, right]) => ({ sql: `${left} ${op} ${right}`, parameters: [] })),
  path.map((of) => ({ sql: of, parameters: [] })),
)

const { condition } = fc.letrec<{ condition: Case }>((tie) => ({
  condition: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    atom,
    fc
      .tuple(tie('condition'), fc.constantFrom('AND', 'OR'), tie('condition'))
      .map(([a, op, b]) => joined(([l, r]) => `(${l} ${op} ${r})`, a, b)),
    tie('condition').map((inner) => joined(([i]) => `NOT (${i})`, inner)),
  ),
}))

// The independent engine compiles each query to JavaScript through Babel: slow, so its conditions are small.
const shallow = fc
  .tuple(atom, fc.constantFrom('AND', 'OR'), atom, fc.boolean())
  .map(([a, op, b, not]) => joined(([l, r]) => `${not ? 'NOT ' : ''}(${l} ${op} ${r})`, a, b))

const numbered = ({ sql, parameters }: Case): { text: string; parameters: Map<string, Value> } => {
  let next = 0
  const text = sql.replaceAll('?', () => `@p${next++}`)
  return { text, parameters: new Map(parameters.map((parameter, i) => [`@p${i}`, parameter])) }
}

const catalog = new Catalog()
const database = catalog.createDatabase('d', 0)
const definition = {
  id: 'c',
  partitionKey: { paths: ['/pk'] },
  indexingPolicy: {
    includedPaths: [{ path: '/*' }, { path: '/b/?' }],
    compositeIndexes: [[{ path: '/a' }, { path: '/b', order: 'descending' }]],
  },
}
let container: ItemContainer
const fill = (documents: JsonObject[]): void => {
  if (database.containers.has('c')) catalog.deleteContainer(database, container)
  container = catalog.createContainer(database, readContainerDefinition(definition), 0)
  for (const [i, document] of documents.entries())
    container.insert('"p"\n', `${i}`, { ...document, id: `${i}`, pk: 'p' }, 0)
}
afterAll(() => catalog.close())

const bySqlite = (text: string, parameters: Map<string, Value>, maxItems = 1000): unknown[] => {
  const results: unknown[] = []
  let continuation: string | undefined
  do {
    const page = runQuery(container, {
      query: parseQuery(text),
      text,
      parameters,
      scope: { type: 'all' },
      maxItems,
      continuation,
      nowMs: 0,
    })
    results.push(...page.results.map((result) => JSON.parse(result) as unknown))
    continuation = page.continuation
  } while (continuation !== undefined)
  return results
}

const byJavaScript = (
  text: string,
  parameters: Map<string, Value>,
  documents: JsonObject[],
  keepUndefined = false,
): unknown[] => [
  ...compileQuery(parseQuery(text), { parameters, nowMs: 0, keepUndefined })(
    documents.map((document, i) => ({ ...document, id: `${i}`, pk: 'p' })),
  ),
]

const byZeit = (text: string, parameters: Map<string, Value>, documents: JsonObject[]): unknown[] => {
  const rows = documents.map((document, i) => ({ ...document, id: `${i}`, _rid: `${i}`.padStart(4, '0') }))
  const list = [...parameters].map(([name, parameter]) => ({ name, value: parameter }))
  return zeitQuery(text).exec(rows, { parameters: list }).result
}

// Where the independent engine departs from the documented language: BETWEEN and ranges over null follow JavaScript's
// coercions, IN with null or a missing value is not undefined, and a string with a surrogate compares by UTF-16 units.
const zeitAgrees = ({ sql, parameters }: Case, documents: JsonObject[]): boolean =>
  !/BETWEEN|IN \(/.test(sql) && !/[\u{1F600}\uFFFD]/u.test(JSON.stringify([parameters, documents]))

describe('queries through SQLite', () => {
  test('filter as the JavaScript evaluation does, for every type on both sides', () => {
    fc.assert(
      fc.property(items, condition, (documents, where) => {
        fill(documents)
        const { text, parameters } = numbered(where)
        const query = `SELECT VALUE c.id FROM c WHERE ${text}`
        expect(bySqlite(query, parameters)).toEqual(byJavaScript(query, parameters, documents))
        expect(bySqlite(`SELECT VALUE COUNT(1) FROM c WHERE ${text}`, parameters)).toEqual([
          byJavaScript(query, parameters, documents).length,
        ])
      }),
      { numRuns: 800, seed: 20261121 },
    )
  })

  test('filter as an independent implementation does', () => {
    fc.assert(
      fc.property(items, shallow, (documents, where) => {
        fc.pre(zeitAgrees(where, documents))
        fill(documents)
        const { text, parameters } = numbered(where)
        const query = `SELECT VALUE c.id FROM c WHERE ${text}`
        expect(bySqlite(query, parameters)).toEqual(byZeit(query, parameters, documents))
      }),
      { numRuns: 300, seed: 20261121 },
    )
  })

  test.each(['c.a', 'c.a DESC', 'c.b', 'c.b DESC'])(
    'order by %s as the JavaScript evaluation does, in pages of any size',
    (order) => {
      const ascending = !order.endsWith('DESC')
      fc.assert(
        fc.property(items, fc.integer({ min: 1, max: 5 }), (documents, maxItems) => {
          fill(documents)
          const query = `SELECT VALUE { id: c.id, key: ${order.slice(0, 3)} } FROM c ORDER BY ${order}`
          const reference = byJavaScript(
            query,
            new Map(),
            ascending ? documents : documents.toReversed(),
            order.startsWith('c.b'),
          ) as { id: string }[]
          // Equal keys follow in the order of the index scan: backwards when descending.
          const expected = ascending
            ? reference
            : reference.map((row) => ({ ...row, id: `${documents.length - 1 - Number(row.id)}` }))
          expect(bySqlite(query, new Map(), maxItems)).toEqual(expected)
        }),
        { numRuns: 200, seed: 20261121 },
      )
    },
  )

  test.each(['true', 'c.a = 1', "c.a IN (1, 'a') AND c.a != 'b'"])(
    'order by two properties where %s as the JavaScript evaluation does, in pages of any size',
    (where) => {
      fc.assert(
        fc.property(items, fc.integer({ min: 1, max: 5 }), (documents, maxItems) => {
          fill(documents)
          const query = `SELECT VALUE c.id FROM c WHERE ${where} ORDER BY c.a, c.b DESC`
          const reversed = byJavaScript(query, new Map(), documents.toReversed())
          const expected = reversed.map((id) => `${documents.length - 1 - Number(id)}`)
          expect(bySqlite(query, new Map(), maxItems)).toEqual(expected)
        }),
        { numRuns: 200, seed: 20261121 },
      )
    },
  )

  test('random doubles are found by equality and split by a range', () => {
    fc.assert(
      fc.property(
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        (stored, asked) => {
          fill([{ a: stored }])
          const normal = JSON.parse(JSON.stringify(stored)) as number
          const found = (op: string, parameter: number): boolean =>
            bySqlite(`SELECT * FROM c WHERE c.a ${op} @x`, new Map([['@x', parameter]])).length > 0
          expect(found('=', stored)).toBe(true)
          expect(found('<', asked)).toBe(normal < asked)
          expect(found('>=', asked)).toBe(normal >= asked)
        },
      ),
      { numRuns: 500, seed: 20261121 },
    )
  })
})

describe('on-demand indexes', () => {
  test('a path filtered on often enough gets an index, and results stay the same', () => {
    const statuses = ['accepted', 'running', 'done', 'done', 'done', 'done', 'done', 'done', 'done']
    fill(
      Array.from({ length: 6000 }, (_, i) => ({
        status: i % 100 === 0 ? (statuses[(i / 100) % 9] ?? '') : 'done',
        at: i,
      })),
    )
    const query = "SELECT VALUE c.id FROM c WHERE c.status IN ('accepted', 'running') AND c.at < @t"
    const parameters = new Map<string, Value>([['@t', 1_000_000]])
    const before = bySqlite(query, parameters)
    expect(before.length).toBeGreaterThan(0)
    expect(container.indexes.count).toBe(0)
    for (let i = 0; i < 3; i += 1) expect(bySqlite(query, parameters)).toEqual(before)
    expect(container.indexes.count).toBe(2)
    expect(bySqlite(query, parameters, 5)).toEqual(before)
    expect(bySqlite('SELECT VALUE COUNT(1) FROM c WHERE c.status = "done" AND c.at >= 5990', new Map())).toEqual([10])
  })

  test('a composite index is built once it is ordered by, in either direction, and serves its first property as well', () => {
    fill(Array.from({ length: 600 }, (_, i) => ({ a: i % 7, b: i })))
    const query = 'SELECT VALUE c.b FROM c WHERE c.b < 20 ORDER BY c.a DESC, c.b'
    const before = bySqlite(query, new Map())
    expect(before.slice(0, 4)).toEqual([6, 13, 5, 12])
    expect(container.indexes.nameOf(['a'])).toBeUndefined()
    for (let i = 0; i < 3; i += 1) expect(bySqlite(query, new Map(), 3)).toEqual(before)
    expect(container.indexes.nameOf(['a'])).toMatch(/^composite_/)
    const count = container.indexes.count
    for (let i = 0; i < 4; i += 1)
      expect(bySqlite('SELECT VALUE COUNT(1) FROM c WHERE c.a = 6', new Map())).toEqual([85])
    expect(container.indexes.count).toBe(count)
    catalog.replaceContainer(
      container,
      readContainerDefinition({ ...definition, indexingPolicy: {} }, container.definition),
      0,
    )
    expect(container.indexes.nameOf(['a'])).toBeUndefined()
  })
})
