import { expect, test } from 'vitest'
import { partitionOfKey } from './partition-key-hash.ts'

// Computed with the mapper of @azure/event-hubs 6.0.4, for 8, 32 and 1000 partitions.
test.each([
  ['', 0, 0, 0],
  ['a', 4, 28, 220],
  ['key', 3, 27, 419],
  ['alphabet', 6, 22, 478],
  ['exactly 12 b', 1, 9, 209],
  ['longer than twelve bytes', 0, 0, 664],
  ['ключ', 6, 14, 174],
  ['order-1234567890-order-1234567890', 4, 12, 884],
])('the partition of key %s is the service’s', (key, of8, of32, of1000) => {
  expect([partitionOfKey(key, 8), partitionOfKey(key, 32), partitionOfKey(key, 1000)]).toEqual([of8, of32, of1000])
})
