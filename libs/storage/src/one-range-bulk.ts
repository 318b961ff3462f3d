import type { Items, OperationInput } from '@azure/cosmos'

interface RangeBatch {
  operations: object[]
  /** Where each operation stood in the request. */
  indexes: number[]
}

type Group = (operations: OperationInput[], definition: unknown, options: unknown, batches: RangeBatch[]) => void

/** What is known here of the inside of @azure/cosmos, pinned to 4.10.1. Another version that lacks it is left as it is. */
interface ItemsInternals {
  groupOperationsBasedOnPartitionKey?: Group
}

/**
 * Bulk requests to a container of one physical partition without hashing any key: the SDK computes where each row belongs
 * in JavaScript, which costs more than writing it as JSON, and with one range there is one answer. Containers of several
 * ranges, and one that splits while a request is under way, are left to the SDK.
 * @param items whose operations carry their partition keys, as arrays
 */
export function groupWithoutHashing(items: Items): void {
  const internals = items as unknown as ItemsInternals
  const group = internals.groupOperationsBasedOnPartitionKey
  if (typeof group !== 'function') return
  internals.groupOperationsBasedOnPartitionKey = (operations, definition, options, batches) => {
    const [only] = batches
    if (batches.length !== 1 || only === undefined) return group.call(items, operations, definition, options, batches)
    for (const [index, operation] of operations.entries()) {
      only.operations.push({ ...operation, partitionKey: JSON.stringify(operation.partitionKey) })
      only.indexes.push(index)
    }
  }
}
