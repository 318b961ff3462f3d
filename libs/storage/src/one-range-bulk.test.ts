import type { Items, OperationInput } from '@azure/cosmos'
import { expect, it } from 'vitest'
import { groupWithoutHashing } from './one-range-bulk.ts'

const operations: OperationInput[] = ['a', 'b'].map((id) => ({
  operationType: 'Create',
  partitionKey: ['tenant', id],
  resourceBody: { id },
}))
const range = () => ({ operations: [] as object[], indexes: [] as number[] })

function sdk() {
  const asked: unknown[] = []
  const items = {
    groupOperationsBasedOnPartitionKey(...given: unknown[]) {
      asked.push([this, ...given])
    },
  }
  return { items, asked }
}

it('puts every operation into the only range, in order, with its key as the SDK writes it', () => {
  const { items, asked } = sdk()
  groupWithoutHashing(items as unknown as Items)
  const only = range()
  items.groupOperationsBasedOnPartitionKey(operations, {}, {}, [only])
  expect(only.operations).toEqual([
    { operationType: 'Create', partitionKey: '["tenant","a"]', resourceBody: { id: 'a' } },
    { operationType: 'Create', partitionKey: '["tenant","b"]', resourceBody: { id: 'b' } },
  ])
  expect(only.indexes).toEqual([0, 1])
  expect(asked).toEqual([])
})

it('leaves several ranges to the SDK', () => {
  const { items, asked } = sdk()
  groupWithoutHashing(items as unknown as Items)
  const ranges = [range(), range()]
  items.groupOperationsBasedOnPartitionKey(operations, {}, {}, ranges)
  expect(asked).toEqual([[items, operations, {}, {}, ranges]])
  expect(ranges).toEqual([range(), range()])
})

it('leaves an SDK alone that groups in another way', () => {
  const items = {}
  groupWithoutHashing(items as unknown as Items)
  expect(items).toEqual({})
})
