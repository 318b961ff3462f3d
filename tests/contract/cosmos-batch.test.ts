import { BulkOperationType, type Container, type OperationInput } from '@azure/cosmos'
import { describe, expect, test } from 'vitest'
import { failure, hierarchical, useAccount } from './cosmos-account.ts'

const ids = async (container: Container): Promise<string[]> =>
  (await container.items.query<string>('SELECT VALUE c.id FROM c').fetchAll()).resources

describe('cosmos transactional batch', () => {
  const account = useAccount()

  test('all six kinds of operation succeed together: 200 with each result', async () => {
    const container = await account.container()
    for (const id of ['read', 'replace', 'patch', 'delete']) await container.items.create({ id, pk: 'p', n: 1 })
    const operations: OperationInput[] = [
      { operationType: BulkOperationType.Create, resourceBody: { id: 'create', pk: 'p' } },
      { operationType: BulkOperationType.Upsert, resourceBody: { id: 'upsert', pk: 'p' } },
      { operationType: BulkOperationType.Read, id: 'read' },
      { operationType: BulkOperationType.Replace, id: 'replace', resourceBody: { id: 'replace', pk: 'p', n: 2 } },
      {
        operationType: BulkOperationType.Patch,
        id: 'patch',
        resourceBody: { condition: 'FROM c WHERE c.n = 1', operations: [{ op: 'incr', path: '/n', value: 4 }] },
      },
      { operationType: BulkOperationType.Delete, id: 'delete' },
    ]
    const { code, result } = await container.items.batch(operations, 'p')
    expect(code).toBe(200)
    expect(result?.map(({ statusCode }) => statusCode)).toEqual([201, 201, 200, 200, 200, 204])
    expect(result?.[4]?.resourceBody).toMatchObject({ id: 'patch', n: 5 })
    expect(result?.[0]?.eTag).toMatch(/^".+"$/)
    expect(await ids(container)).toEqual(['read', 'replace', 'patch', 'create', 'upsert'])
  })

  test('one failing operation undoes all: its own status, 424 for the others', async () => {
    const container = await account.container()
    const { etag } = await container.items.create({ id: 'a', pk: 'p', n: 1 })
    const operations: OperationInput[] = [
      { operationType: BulkOperationType.Create, resourceBody: { id: 'new', pk: 'p' } },
      { operationType: BulkOperationType.Patch, id: 'a', resourceBody: [{ op: 'incr', path: '/n', value: 1 }] },
      { operationType: BulkOperationType.Create, resourceBody: { id: 'a', pk: 'p' } },
      { operationType: BulkOperationType.Upsert, resourceBody: { id: 'later', pk: 'p' } },
    ]
    const { code, result } = await container.items.batch(operations, 'p')
    expect(code).toBe(207)
    expect(result?.map(({ statusCode }) => statusCode)).toEqual([424, 424, 409, 424])
    expect(await ids(container)).toEqual(['a'])
    expect((await container.item('a', 'p').read()).etag).toBe(etag)
  })

  test.each<[string, OperationInput, number]>([
    [
      'a stale etag',
      { operationType: BulkOperationType.Replace, id: 'a', ifMatch: '"stale"', resourceBody: { id: 'a', pk: 'p' } },
      412,
    ],
    [
      'a false patch condition',
      {
        operationType: BulkOperationType.Patch,
        id: 'a',
        resourceBody: { condition: 'FROM c WHERE c.n = 2', operations: [{ op: 'set', path: '/n', value: 0 }] },
      },
      412,
    ],
    ['a missing item', { operationType: BulkOperationType.Delete, id: 'none' }, 404],
    ['another partition', { operationType: BulkOperationType.Create, resourceBody: { id: 'b', pk: 'q' } }, 400],
  ])('%s fails the batch with %s', async (_, operation, status) => {
    const container = await account.container()
    await container.items.create({ id: 'a', pk: 'p', n: 1 })
    const first: OperationInput = { operationType: BulkOperationType.Upsert, resourceBody: { id: 'x', pk: 'p' } }
    const { result } = await container.items.batch([first, operation], 'p')
    expect(result?.map(({ statusCode }) => statusCode)).toEqual([424, status])
    expect(await ids(container)).toEqual(['a'])
  })

  test('a batch under a hierarchical key is bound to that key', async () => {
    const container = await account.container({ partitionKey: hierarchical('/tenant', '/id') })
    const create: OperationInput = { operationType: BulkOperationType.Create, resourceBody: { id: 'a', tenant: 't' } }
    expect((await container.items.batch([create], ['t', 'a'])).code).toBe(200)
    expect(
      (await container.items.batch([{ operationType: BulkOperationType.Read, id: 'a' }], ['u', 'a'])).result?.[0]
        ?.statusCode,
    ).toBe(404)
  })

  test('later operations of a batch see the earlier ones', async () => {
    const container = await account.container()
    const create: OperationInput = { operationType: BulkOperationType.Create, resourceBody: { id: 'a', pk: 'p', n: 1 } }
    const patch: OperationInput = {
      operationType: BulkOperationType.Patch,
      id: 'a',
      resourceBody: [{ op: 'incr', path: '/n', value: 1 }],
    }
    const { result } = await container.items.batch([create, patch], 'p')
    expect(result?.[1]?.resourceBody).toMatchObject({ n: 2 })
  })

  test('101 operations and batches over 2 MiB are refused', async () => {
    const container = await account.container()
    const operation = (i: number, text: string): OperationInput => ({
      operationType: BulkOperationType.Create,
      resourceBody: { id: `${i}`, pk: 'p', text },
    })
    await expect(
      container.items.batch(
        Array.from({ length: 101 }, (_, i) => operation(i, '')),
        'p',
      ),
    ).rejects.toThrow(/100/)
    const large = Array.from({ length: 3 }, (_, i) => operation(i, 'x'.repeat(900_000)))
    const error = await container.items.batch(large, 'p').catch((thrown: unknown) => thrown)
    expect((error as Error).cause).toMatchObject({ code: 413 })
    expect(await ids(container)).toEqual([])
  })
})

describe('cosmos bulk', () => {
  const account = useAccount()

  test('executeBulkOperations answers each operation by itself, across partitions', async () => {
    const container = await account.container({ partitionKey: { paths: ['/pk'], version: 2 } })
    await container.items.create({ id: 'taken', pk: 'p1' })
    const operations = [
      ...Array.from({ length: 150 }, (_, i) => ({
        operationType: BulkOperationType.Create,
        partitionKey: `p${i % 4}`,
        resourceBody: { id: `i${i}`, pk: `p${i % 4}` },
      })),
      { operationType: BulkOperationType.Create, partitionKey: 'p1', resourceBody: { id: 'taken', pk: 'p1' } },
      { operationType: BulkOperationType.Read, partitionKey: 'p1', id: 'taken' },
      { operationType: BulkOperationType.Delete, partitionKey: 'p2', id: 'none' },
    ]
    const results = await container.items.executeBulkOperations(operations)
    const codes = results.map(({ response, error }) => response?.statusCode ?? error?.code)
    expect(codes.slice(0, 150).every((code) => code === 201)).toBe(true)
    expect(codes.slice(150)).toEqual([409, 200, 404])
    expect(await ids(container)).toHaveLength(151)
  })

  test('the older bulk call continues after an error, or stops with 424 when told so', async () => {
    const container = await account.container({ partitionKey: { paths: ['/pk'], version: 2 } })
    const operations: OperationInput[] = ['a', 'a', 'b'].map((id) => ({
      operationType: BulkOperationType.Create,
      resourceBody: { id, pk: 'p' },
    }))
    const going = await container.items.bulk(structuredClone(operations), { continueOnError: true })
    expect(going.map(({ statusCode }) => statusCode)).toEqual([201, 409, 201])
    const stopping = await container.items.bulk(structuredClone(operations), { continueOnError: false })
    expect(stopping.map(({ statusCode }) => statusCode)).toEqual([409, 424, 424])
  })

  test('a batch that is no array, is empty or holds unknown operations is a 400', async () => {
    const container = await account.container()
    const unknown = container.items.batch([{ operationType: 'Explode', id: 'a' } as never], 'p')
    expect((await unknown).result?.[0]?.statusCode).toBe(400)
    const empty = await failure(container.items.batch([], 'p'))
    expect(empty.message).toContain('not an array of operations')
  })
})
