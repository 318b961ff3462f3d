import { expect, test } from 'vitest'
import { effectivePartitionKey } from './effective-partition-key.ts'
import type { PartitionKeyComponent } from './partition-key.ts'

// Recorded from @azure/cosmos 4.10.1, whose clients compute the same hash to address a prefix of a hierarchical key.
test.each<[PartitionKeyComponent[], string]>([
  [['tenant'], '3B67F777541374F849FC7793DE5DF915'],
  [
    ['tenant', 'a user with a name of thirty-three'],
    '3B67F777541374F849FC7793DE5DF915272D5A5FBA0A29FF339DE25D33B96020',
  ],
  [[1], '20CD98B339BA78A5D0CF6953B87070B0'],
  [[-0.5], '04C8191FC18308BCB37FDA5DCC5C9768'],
  [[true], '0E711127C5B5A8E4726AC6DD306A3E59'],
  [[false], '2FE1BE91E90A3439635E0E9E37361EF2'],
  [[null], '378867E4430E67857ACE5C908374FE16'],
  [[undefined], '11622DAA78F835834610ABE56EFF5CB5'],
  [['ü'], '37D92BE2B32495A87CD16033AB6626B4'],
  [[''], '32E9366E637A71B4E710384B2F4970A0'],
])('%j hashes as the SDK hashes it', (components, expected) => {
  expect(effectivePartitionKey(components)).toBe(expected)
})
