import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CosmosError } from './cosmos-error.ts'
import {
  afterPrefix,
  decodePartitionKey,
  encodePartitionKey,
  parsePartitionKey,
  partitionKeyOf,
  readPartitionKeyDefinition,
} from './partition-key.ts'

const component = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.boolean(),
  fc.constant(null),
  fc.constant(undefined),
)
const key = fc.array(component, { minLength: 1, maxLength: 3 })

describe('encoded partition keys', () => {
  test('decode to what was encoded', () => {
    fc.assert(
      fc.property(key, (components) => {
        const normal = components.map((part) =>
          part === undefined ? undefined : (JSON.parse(JSON.stringify(part)) as typeof part),
        )
        expect(decodePartitionKey(encodePartitionKey(components))).toEqual(normal)
      }),
    )
  })

  test('lie in the range of a prefix exactly when they begin with its components', () => {
    fc.assert(
      fc.property(key, key, fc.boolean(), (prefix, other, extend) => {
        const full = extend ? [...prefix, ...other] : other
        const begins = prefix.every(
          (part, i) => i < full.length && encodePartitionKey([part]) === encodePartitionKey([full[i]]),
        )
        const [low, text] = [encodePartitionKey(prefix), encodePartitionKey(full)]
        expect(
          Buffer.compare(Buffer.from(text), Buffer.from(low)) >= 0 &&
            Buffer.compare(Buffer.from(text), Buffer.from(afterPrefix(low))) < 0,
        ).toBe(begins)
      }),
      { numRuns: 500 },
    )
  })
})

describe('partition key definitions and headers', () => {
  test('paths lead into objects, quoted steps included', () => {
    const definition = readPartitionKeyDefinition({ paths: ['/a/"b c"', '/missing'], kind: 'MultiHash' })
    expect(partitionKeyOf(definition, { a: { 'b c': 7 } })).toEqual([7, undefined])
  })

  test.each(['', '{}', '"a"', '[["a"]]', '[{"a":1}]'])('the header %j is a 400', (text) => {
    expect(() => parsePartitionKey(text)).toThrow(CosmosError)
  })

  test.each([
    undefined,
    {},
    { paths: [] },
    { paths: ['a'] },
    { paths: ['/a/*'] },
    { paths: ['/a', '/b'], kind: 'Hash' },
    { paths: ['/a', '/a'] },
    { paths: ['/a'], kind: 'Range' },
    { paths: ['/a'], version: 3 },
  ])('the definition %j is a 400', (definition) => {
    expect(() => readPartitionKeyDefinition(definition)).toThrow(CosmosError)
  })
})
