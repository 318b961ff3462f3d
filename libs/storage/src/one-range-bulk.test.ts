import type { Items, OperationInput, OperationResponse } from '@azure/cosmos'
import { expect, it } from 'vitest'
import { createRowsOf, type NewRow } from './one-range-bulk.ts'

interface Batch {
  rangeId: string
  operations: object[]
  indexes: number[]
}
type Sent = { body: string; partitionKeyRangeId: string; path: string; resourceId: string }

const rows: NewRow[] = ['a', 'b'].map((id) => ({ row: { id }, key: ['tenant', id] }))
const created = { statusCode: 201 } as OperationResponse

/** An SDK with that many ranges, as far as a bulk request shows of it. */
function sdk(ranges: number, answer: (sent: Sent) => OperationResponse[]) {
  const sent: Sent[] = []
  const bySdk: Batch[][] = []
  const items = {
    container: { url: 'dbs/d/colls/c' },
    clientContext: {
      bulk: async (request: Sent) => {
        sent.push(request)
        return { result: answer(request) }
      },
    },
    groupOperationsBasedOnPartitionKey(operations: object[], _: unknown, __: object, batches: Batch[]) {
      for (const [index, operation] of operations.entries()) {
        batches[index % ranges]?.operations.push(operation)
        batches[index % ranges]?.indexes.push(index)
      }
    },
    executeBatchOperations(batches: Batch[], ...rest: unknown[]) {
      bySdk.push(batches)
      const responses = rest[4] as OperationResponse[]
      for (const { indexes } of batches) for (const index of indexes) responses[index] = created
      return batches.map(async () => undefined)
    },
    async bulk(operations: OperationInput[], bulkOptions: object, options: object) {
      const responses: OperationResponse[] = []
      const batches = Array.from({ length: ranges }, (_, n): Batch => ({
        rangeId: `${n}`,
        operations: [],
        indexes: [],
      }))
      this.groupOperationsBasedOnPartitionKey(operations, {}, options, batches)
      const full = batches.filter((batch) => batch.operations.length > 0)
      await Promise.all(this.executeBatchOperations(full, '/path', bulkOptions, options, {}, responses, {}))
      return responses
    },
  }
  return { createRows: createRowsOf(items as unknown as Items), sent, bySdk, items }
}

const parsed = (sent: Sent[]) => sent.flatMap(({ body }) => JSON.parse(body) as { resourceBody: { id: string } }[])

it('sends all rows to the only range, in order, as the SDK would write them', async () => {
  const { createRows, sent, bySdk } = sdk(1, () => [created, { statusCode: 409 } as OperationResponse])
  const answers = await createRows(rows, {})
  expect(answers.map(({ statusCode }) => statusCode)).toEqual([201, 409])
  expect(sent).toMatchObject([{ partitionKeyRangeId: '0', path: '/path', resourceId: 'dbs/d/colls/c' }])
  expect(parsed(sent)).toEqual([
    { operationType: 'Create', partitionKey: '["tenant","a"]', resourceBody: { id: 'a' } },
    { operationType: 'Create', partitionKey: '["tenant","b"]', resourceBody: { id: 'b' } },
  ])
  expect(bySdk).toEqual([])
})

it('takes the JSON that is at hand for the row', async () => {
  const { createRows, sent } = sdk(1, () => [created])
  await createRows([{ row: { id: 'a', n: 1 }, key: ['t', 'a'], json: '{"id":"a", "n":1.0}' }], {})
  expect(sent[0]?.body).toContain('"resourceBody":{"id":"a", "n":1.0}}')
})

it('keeps bodies below the bound, except for a row that is larger by itself', async () => {
  const { createRows, sent } = sdk(1, ({ body }) => (JSON.parse(body) as object[]).map(() => created))
  const sizes = [100_000, 100_000, 300_000, 70_000, 70_000, 70_000, 70_000]
  const many = sizes.map((size, n) => ({ row: { id: `${n}`, text: 'é'.repeat(size / 2) }, key: ['t', `${n}`] }))
  const answers = await createRows(many, {})
  const idsOf = (one: Sent) => parsed([one]).map(({ resourceBody: { id } }) => id)
  expect(sent.map(idsOf)).toEqual([['0', '1'], ['2'], ['3', '4', '5'], ['6']])
  expect(answers).toHaveLength(sizes.length)
})

it('leaves several ranges to the SDK', async () => {
  const { createRows, sent, bySdk } = sdk(2, () => [])
  await createRows(rows, {})
  expect(sent).toEqual([])
  expect(bySdk[0]?.map(({ rangeId, indexes }) => [rangeId, indexes])).toEqual([
    ['0', [0]],
    ['1', [1]],
  ])
})

it('leaves a range that split meanwhile to the SDK, with the operations as it knows them', async () => {
  const gone = Object.assign(new Error('gone'), { code: 410 })
  const { createRows, bySdk } = sdk(1, () => {
    throw gone
  })
  expect(await createRows(rows, {})).toEqual([created, created])
  const operations = rows.map(({ row, key }) => ({
    operationType: 'Create',
    partitionKey: JSON.stringify(key),
    resourceBody: row,
  }))
  expect(bySdk).toEqual([[{ rangeId: '0', operations, indexes: [0, 1] }]])
})

it('fails as the SDK does when the service refuses the request', async () => {
  const cause = Object.assign(new Error('throttled'), { code: 429 })
  const { createRows } = sdk(1, () => {
    throw cause
  })
  await expect(createRows(rows, {})).rejects.toMatchObject({ message: 'Bulk request errored with: throttled', cause })
})

it('leaves other bulk requests of the same container alone', async () => {
  const { items, sent, bySdk } = sdk(1, () => [])
  await items.bulk([{ operationType: 'Read', id: 'a', partitionKey: ['t', 'a'] }], {}, {})
  expect(sent).toEqual([])
  expect(bySdk).toHaveLength(1)
})

it('leaves an SDK alone that groups in another way', async () => {
  const asked: unknown[] = []
  const items = { bulk: async (...given: unknown[]) => (asked.push(given), []) }
  await createRowsOf(items as unknown as Items)(rows, { consistencyLevel: 'Session' })
  expect(Object.keys(items)).toEqual(['bulk'])
  expect(asked).toMatchObject([
    [[{ operationType: 'Create' }, { resourceBody: { id: 'b' } }], {}, { consistencyLevel: 'Session' }],
  ])
})
