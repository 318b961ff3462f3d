import type { Container, FeedOptions, SqlQuerySpec } from '@azure/cosmos'
import { beforeAll, describe, expect, test } from 'vitest'
import { failure, hierarchical, useAccount } from './cosmos-account.ts'

const all = async (container: Container, query: string | SqlQuerySpec, options?: FeedOptions): Promise<unknown[]> =>
  (await container.items.query<unknown>(query, options).fetchAll()).resources

describe('cosmos queries and partitions', () => {
  const account = useAccount()
  let container: Container

  beforeAll(async () => {
    container = await account.container({ partitionKey: hierarchical('/tenant', '/user', '/id') })
    for (const tenant of ['t', 'tt', 'u'])
      for (const user of ['a', 'b']) await container.items.create({ id: `${tenant}-${user}`, tenant, user })
  })

  test('a full key sees exactly its own item', async () => {
    expect(await all(container, 'SELECT VALUE c.id FROM c', { partitionKey: ['t', 'a', 't-a'] })).toEqual(['t-a'])
  })

  test('a prefix of a hierarchical key sees what is under it, and nothing of a key that merely begins alike', async () => {
    expect(await all(container, 'SELECT VALUE c.id FROM c', { partitionKey: ['t'] })).toEqual(['t-a', 't-b'])
    expect(await all(container, 'SELECT VALUE c.id FROM c', { partitionKey: ['tt', 'b'] })).toEqual(['tt-b'])
  })

  test('a partition key cannot be escaped by the condition', async () => {
    expect(
      await all(container, 'SELECT VALUE c.id FROM c WHERE true OR c.tenant = "u"', { partitionKey: ['t'] }),
    ).toEqual(['t-a', 't-b'])
    expect(await all(container, 'SELECT VALUE COUNT(1) FROM c', { partitionKey: ['t'] })).toEqual([2])
  })

  test('without a key a query sees every partition', async () => {
    expect(await all(container, 'SELECT VALUE COUNT(1) FROM c')).toEqual([6])
    expect((await container.items.readAll().fetchAll()).resources).toHaveLength(6)
  })

  test('too many levels are a 400', async () => {
    expect((await failure(all(container, 'SELECT * FROM c', { partitionKey: ['t', 'a', 'x', 'y'] }))).code).toBe(400)
  })

  test('forceQueryPlan takes the pipelined way to the same answer', async () => {
    const options: FeedOptions = { forceQueryPlan: true, maxItemCount: 2 }
    expect(await all(container, 'SELECT VALUE c.id FROM c ORDER BY c.id DESC', options)).toEqual([
      'u-b',
      'u-a',
      'tt-b',
      'tt-a',
      't-b',
      't-a',
    ])
  })
})

describe('cosmos SQL', () => {
  const account = useAccount()
  let container: Container

  beforeAll(async () => {
    container = await account.container()
    const items = [
      { id: '1', n: 1, s: 'b', tags: ['x', 'y'], flag: true, nested: { deep: [10, 20] } },
      { id: '2', n: 2, s: 'a', tags: ['y'], flag: false, nothing: null },
      { id: '3', n: '3', s: 'c', tags: [] },
      { id: '4', n: 4.5, s: 'a', flag: true },
      { id: '5', s: 'ü' },
    ]
    for (const item of items) await container.items.create({ pk: 'p', ...item })
  })

  test.each<[string, unknown[]]>([
    ['SELECT VALUE c.id FROM c WHERE c.n > 1', ['2', '4']],
    ['SELECT VALUE c.id FROM c WHERE c.n >= "3"', ['3']],
    ['SELECT VALUE c.id FROM c WHERE c.n != 1', ['2', '3', '4']],
    ['SELECT VALUE c.id FROM c WHERE NOT (c.n = 1)', ['2', '3', '4']],
    ['SELECT VALUE c.id FROM c WHERE NOT c.flag', ['2']],
    ['SELECT VALUE c.id FROM c WHERE c.flag', ['1', '4']],
    ['SELECT VALUE c.id FROM c WHERE c.n IN (1, "3")', ['1', '3']],
    ['SELECT VALUE c.id FROM c WHERE c.n NOT IN (1, "3")', ['2', '4']],
    ['SELECT VALUE c.id FROM c WHERE c.n BETWEEN 2 AND 5', ['2', '4']],
    ['SELECT VALUE c.id FROM c WHERE IS_DEFINED(c.n) AND NOT IS_NUMBER(c.n)', ['3']],
    ['SELECT VALUE c.id FROM c WHERE c.nothing = null', ['2']],
    ['SELECT VALUE c.id FROM c WHERE IS_NULL(c.nothing)', ['2']],
    ['SELECT VALUE c.id FROM c WHERE c.nested.deep[1] = 20', ['1']],
    ['SELECT VALUE c.id FROM c WHERE c["nested"]["deep"] = [10, 20]', ['1']],
    ['SELECT VALUE c.id FROM c WHERE ARRAY_CONTAINS(c.tags, "y")', ['1', '2']],
    ['SELECT VALUE c.id FROM c WHERE STARTSWITH(c.s, "A", true)', ['2', '4']],
    ['SELECT VALUE c.id FROM c WHERE c.s LIKE "_" AND c.s NOT LIKE "[a-c]"', ['5']],
    ['SELECT VALUE c.id FROM c WHERE EXISTS (SELECT VALUE t FROM t IN c.tags WHERE t = "x")', ['1']],
    ['SELECT VALUE t FROM c JOIN t IN c.tags', ['x', 'y', 'y']],
    ['SELECT VALUE t FROM t IN c.tags', ['x', 'y', 'y']],
    [
      'SELECT c.id, t AS tag FROM c JOIN t IN c.tags WHERE t != "x"',
      [
        { id: '1', tag: 'y' },
        { id: '2', tag: 'y' },
      ],
    ],
    ['SELECT VALUE ARRAY(SELECT VALUE t FROM t IN c.tags WHERE t > "x") FROM c WHERE c.id = "1"', [['y']]],
    ['SELECT VALUE { id: c.id, twice: c.n * 2, none: c.none } FROM c WHERE c.n < 2', [{ id: '1', twice: 2 }]],
    ['SELECT c.id, c.n + 1, UPPER(c.s) AS up FROM c WHERE c.id = "2"', [{ id: '2', $1: 3, up: 'A' }]],
    ['SELECT VALUE c.flag ? "yes" : "no" FROM c', ['yes', 'no', 'no', 'yes', 'no']],
    ['SELECT VALUE c.n ?? "none" FROM c WHERE c.id >= "4"', [4.5, 'none']],
    ['SELECT VALUE c.id FROM c ORDER BY c.s', ['2', '4', '1', '3', '5']],
    ['SELECT VALUE c.id FROM c ORDER BY c.n DESC', ['3', '4', '2', '1']],
    ['SELECT TOP 2 VALUE c.id FROM c ORDER BY c.n', ['1', '2']],
    ['SELECT VALUE c.id FROM c ORDER BY c.n OFFSET 1 LIMIT 2', ['2', '4']],
    ['SELECT DISTINCT VALUE c.s FROM c ORDER BY c.s', ['a', 'b', 'c', 'ü']],
    ['SELECT DISTINCT c.flag FROM c', [{ flag: true }, { flag: false }, {}]],
    ['SELECT VALUE COUNT(1) FROM c', [5]],
    ['SELECT VALUE COUNT(c.flag) FROM c WHERE c.s = "a"', [2]],
    ['SELECT VALUE SUM(c.n) FROM c WHERE IS_NUMBER(c.n)', [7.5]],
    ['SELECT VALUE SUM(c.n) FROM c', []],
    ['SELECT VALUE AVG(c.n) FROM c WHERE IS_NUMBER(c.n)', [2.5]],
    ['SELECT VALUE MIN(c.n) FROM c', [1]],
    ['SELECT VALUE MAX(c.n) FROM c', ['3']],
    ['SELECT VALUE MAX(c.n) FROM c WHERE c.id = "none"', []],
    ['SELECT COUNT(1) AS total, MAX(c.n) - MIN(c.n) AS span FROM c WHERE IS_NUMBER(c.n)', [{ total: 3, span: 3.5 }]],
    [
      'SELECT c.s, COUNT(1) AS n FROM c GROUP BY c.s',
      [
        { s: 'b', n: 1 },
        { s: 'a', n: 2 },
        { s: 'c', n: 1 },
        { s: 'ü', n: 1 },
      ],
    ],
    ['SELECT VALUE 1 + 1', [2]],
    ["select value root.id from root where root.id = '1' -- a comment", ['1']],
  ])('%s', async (query, expected) => {
    expect(await all(container, query)).toEqual(expected)
  })

  test('parameters are values: text in them is never read as SQL', async () => {
    const query = {
      query: 'SELECT VALUE c.id FROM c WHERE c.s = @s',
      parameters: [{ name: '@s', value: 'a" OR true --' }],
    }
    expect(await all(container, query)).toEqual([])
    query.parameters = [{ name: '@s', value: 'a' }]
    expect(await all(container, query)).toEqual(['2', '4'])
  })

  test('parameters may be arrays', async () => {
    const query = {
      query: 'SELECT VALUE c.id FROM c WHERE ARRAY_CONTAINS(@ids, c.id)',
      parameters: [{ name: '@ids', value: ['2', '9', '5'] }],
    }
    expect(await all(container, query)).toEqual(['2', '5'])
  })

  test.each([
    ['SELECT FROM c', 'SC1001'],
    ['SELECT * FROM c WHERE', 'SC1001'],
    ['SELECT * FROM c WHERE c.a = "open', 'SC1012'],
    ['SELECT * FROM c WHERE x.a = 1', 'SC2001'],
    ['SELECT * FROM c WHERE NOSUCH(c.a)', 'SC2005'],
    ['SELECT * FROM c WHERE ABS(1, 2) = 1', 'SC2050'],
    ['SELECT * FROM c WHERE COUNT(1) > 1', 'SC2100'],
    ['SELECT *', 'SC2040'],
    ['SELECT * FROM c ORDER BY c.n LIMIT 5', 'SC1001'],
    ['SELECT * FROM c WHERE c.a = 1; DROP TABLE items_1', 'SC1010'],
    [`SELECT VALUE ${'('.repeat(5000)}1${')'.repeat(5000)}`, 'SC3000'],
  ])('the query %.60s is a 400 with code %s', async (query, code) => {
    const error = await failure(all(container, query))
    expect(error.code).toBe(400)
    expect(error.message).toContain(code)
  })

  test('ORDER BY an expression that is no path is a 400', async () => {
    const error = await failure(all(container, 'SELECT * FROM c ORDER BY c.n + 1'))
    expect(error).toMatchObject({ code: 400 })
    expect(error.message).toContain('could not be mapped to a document path')
  })
})

describe('cosmos composite indexes', () => {
  const account = useAccount()
  const indexingPolicy = {
    compositeIndexes: [
      [
        { path: '/a', order: 'ascending' as const },
        { path: '/b', order: 'descending' as const },
      ],
    ],
    includedPaths: [{ path: '/*' }, { path: '/kept/?' }],
    excludedPaths: [{ path: '/hidden/*' }],
  }

  test('ORDER BY several properties needs a composite index in that order or its opposite: 400 otherwise', async () => {
    const container = await account.container({ indexingPolicy })
    for (const [i, [a, b]] of [
      [2, 1],
      [1, 1],
      [1, 2],
      [2, 2],
    ].entries())
      await container.items.create({ id: `${i}`, pk: 'p', a, b })
    expect(await all(container, 'SELECT VALUE c.id FROM c ORDER BY c.a, c.b DESC')).toEqual(['2', '1', '3', '0'])
    expect(await all(container, 'SELECT VALUE c.id FROM c ORDER BY c.a DESC, c.b')).toEqual(['0', '3', '1', '2'])
    for (const order of ['c.a, c.b', 'c.b DESC, c.a', 'c.a, c.b DESC, c.id']) {
      const error = await failure(all(container, `SELECT * FROM c ORDER BY ${order}`))
      expect(error.code).toBe(400)
      expect(error.message).toContain('does not have a corresponding composite index')
    }
  })

  test('ORDER BY a path excluded from the index is a 400', async () => {
    const container = await account.container({ indexingPolicy })
    expect((await failure(all(container, 'SELECT * FROM c ORDER BY c.hidden.x'))).code).toBe(400)
  })

  test('ORDER BY leaves out items without the property unless the policy names its path', async () => {
    const container = await account.container({ indexingPolicy })
    await container.items.create({ id: '1', pk: 'p', other: 1, kept: 1 })
    await container.items.create({ id: '2', pk: 'p' })
    expect(await all(container, 'SELECT VALUE c.id FROM c ORDER BY c.other')).toEqual(['1'])
    expect(await all(container, 'SELECT VALUE c.id FROM c ORDER BY c.kept')).toEqual(['2', '1'])
  })
})

describe('cosmos continuation', () => {
  const account = useAccount()
  const count = 25
  let container: Container

  beforeAll(async () => {
    container = await account.container()
    const mixed = [null, true, false, 'text', 'b', 3, -1.5, [1], { a: 1 }]
    for (let i = 0; i < count; i += 1)
      await container.items.create({
        id: `${i}`.padStart(2, '0'),
        pk: `p${i % 3}`,
        i,
        mixed: mixed[i % mixed.length] as string,
        tags: ['a', 'b'],
      })
  })

  const pages = async (query: string, maxItemCount: number): Promise<unknown[][]> => {
    const found: unknown[][] = []
    let continuationToken: string | undefined
    do {
      const options: FeedOptions = { maxItemCount, ...(continuationToken === undefined ? {} : { continuationToken }) }
      const page = await container.items.query<unknown>(query, options).fetchNext()
      found.push(page.resources)
      continuationToken = page.continuationToken
    } while (continuationToken !== undefined)
    return found
  }

  test.each([
    'SELECT VALUE c.id FROM c',
    'SELECT VALUE c.id FROM c WHERE c.i > 3 AND ARRAY_CONTAINS(c.tags, "b")',
    'SELECT VALUE c.id FROM c ORDER BY c.i DESC',
    'SELECT VALUE c.id FROM c ORDER BY c.mixed',
    'SELECT VALUE c.id FROM c ORDER BY c.mixed DESC',
    'SELECT VALUE c.id FROM c WHERE c.i < 20 ORDER BY c.id OFFSET 2 LIMIT 15',
    'SELECT DISTINCT VALUE c.pk FROM c',
    'SELECT VALUE [c.id, t] FROM c JOIN t IN c.tags',
  ])('pages of 4 put together are the whole of %s', async (query) => {
    const whole = await all(container, query)
    const parts = await pages(query, 4)
    expect(parts.flat()).toEqual(whole)
    expect(parts.slice(0, -1).every((page) => page.length === 4)).toBe(true)
    expect(parts.length).toBe(Math.ceil(whole.length / 4))
  })

  test('items removed between pages are neither a gap nor a repetition', async () => {
    const own = await account.container()
    for (let i = 0; i < 10; i += 1) await own.items.create({ id: `${i}`, pk: 'p', published: false })
    const seen: string[] = []
    const iterator = own.items.query<string>('SELECT VALUE c.id FROM c WHERE c.published = false', { maxItemCount: 3 })
    while (iterator.hasMoreResults()) {
      for (const id of (await iterator.fetchNext()).resources ?? []) {
        seen.push(id)
        await own.item(id, 'p').patch([{ op: 'set', path: '/published', value: true }])
      }
    }
    expect(seen).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
  })

  test.each(['nonsense', 'e30', Buffer.from('{"position":{"keys":[{}],"sequence":1}}').toString('base64url')])(
    'the continuation token %s is a 400',
    async (continuationToken) => {
      expect((await failure(all(container, 'SELECT * FROM c', { continuationToken }))).code).toBe(400)
    },
  )

  test('a page ends before 4 MB', async () => {
    const own = await account.container()
    for (let i = 0; i < 6; i += 1) await own.items.create({ id: `${i}`, pk: 'p', text: 'x'.repeat(1_000_000) })
    const iterator = own.items.query('SELECT * FROM c')
    expect((await iterator.fetchNext()).resources).toHaveLength(4)
    expect((await iterator.fetchNext()).resources).toHaveLength(2)
  })
})
