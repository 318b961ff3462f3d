import { afterAll, expect, test } from 'vitest'
import type { JsonObject } from '../json.ts'
import { Catalog } from '../store/catalog.ts'
import { readContainerDefinition } from '../store/container-definition.ts'
import { createItem, patchItem, replaceItem } from './item-operations.ts'

const catalog = new Catalog()
afterAll(() => catalog.close())
const definition = readContainerDefinition({
  id: 'c',
  partitionKey: { paths: ['/tenant', '/n'], kind: 'MultiHash', version: 2 },
  uniqueKeyPolicy: { uniqueKeys: [{ paths: ['/mail'] }] },
})
const container = catalog.createContainer(catalog.createDatabase('d', 0), definition, 0)
const address = { container, partitionKey: ['t', 1], nowMs: 0 }
const create = (item: JsonObject) => createItem(address, { tenant: 't', n: 1, ...item })

test('a refused write is told by its cause and uses no number', () => {
  create({ id: 'a', mail: 'x' })
  create({ id: 'b', mail: 'y' })
  const { lastLsn } = container
  expect(() => create({ id: 'a', mail: 'z' })).toThrow('Resource with specified id or name already exists.')
  expect(() => create({ id: 'c', mail: 'x' })).toThrow('Unique index constraint violation.')
  expect(() => replaceItem(address, 'b', { id: 'b', tenant: 't', n: 1, mail: 'x' })).toThrow('Unique index')
  expect(() => create({ id: 'c', mail: 'z', ttl: 0 })).toThrow('ttl')
  expect([container.lastLsn, container.itemCount]).toEqual([lastLsn, 2])
  create({ id: 'c', mail: 'z' })
  expect([container.lastLsn, container.itemCount]).toEqual([lastLsn + 1, 3])
})

test.each([
  { tenant: 't', n: '1' },
  { tenant: 't' },
  { tenant: 't', n: null },
  { tenant: 't', n: true },
  { tenant: 'T', n: 1 },
  { tenant: 't', n: 1.5 },
])('an item of another partition key is refused: %j', (key) => {
  expect(() => createItem(address, { id: 'other', ...key })).toThrow('PartitionKey extracted from document')
})

test('a patch cannot move an item to another partition', () => {
  create({ id: 'p', mail: 'p' })
  expect(() => patchItem(address, 'p', [{ op: 'incr', path: '/n', value: 1 }])).toThrow(
    'cannot change the partition key',
  )
  expect(patchItem(address, 'p', [{ op: 'incr', path: '/n', value: 0 }]).status).toBe(200)
})
