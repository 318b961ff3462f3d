import type { PatchOperation, PatchRequestBody } from '@azure/cosmos'
import { describe, expect, test } from 'vitest'
import { failure, useAccount } from './cosmos-account.ts'

describe('cosmos patch', () => {
  const account = useAccount()

  const patched = async (start: object, operations: unknown[]): Promise<Record<string, unknown>> => {
    const container = await account.container()
    const { item } = await container.items.create({ id: 'a', pk: 'p', ...start })
    const { resource } = await item.patch(operations as PatchOperation[])
    return Object.fromEntries(Object.entries(resource ?? {}).filter(([name]) => !/^_|^id$|^pk$/.test(name)))
  }

  test('add creates a property, replaces one, inserts into an array, and appends at "-"', async () => {
    const operations = [
      { op: 'add', path: '/b', value: 2 },
      { op: 'add', path: '/a', value: 9 },
      { op: 'add', path: '/list/1', value: 'x' },
      { op: 'add', path: '/list/-', value: 'end' },
    ]
    expect(await patched({ a: 1, list: [1, 2] }, operations)).toEqual({ a: 9, b: 2, list: [1, 'x', 2, 'end'] })
  })

  test('set creates or overwrites, also inside arrays', async () => {
    const operations = [
      { op: 'set', path: '/new', value: null },
      { op: 'set', path: '/list/0', value: 'x' },
      { op: 'set', path: '/deep/er', value: { y: 1 } },
    ]
    expect(await patched({ list: [1, 2], deep: {} }, operations)).toEqual({
      new: null,
      list: ['x', 2],
      deep: { er: { y: 1 } },
    })
  })

  test('replace and remove need a target: 400 when it is missing', async () => {
    expect(
      await patched({ a: 1, b: [1, 2, 3] }, [
        { op: 'replace', path: '/a', value: 2 },
        { op: 'remove', path: '/b/1' },
      ]),
    ).toEqual({ a: 2, b: [1, 3] })
    const replacing = patched({}, [{ op: 'replace', path: '/a', value: 1 }])
    const removing = patched({}, [{ op: 'remove', path: '/a' }])
    expect([(await failure(replacing)).code, (await failure(removing)).code]).toEqual([400, 400])
  })

  test('incr adds to a number, starts at the value where there is none, and refuses text with 400', async () => {
    const operations = [
      { op: 'incr', path: '/n', value: -2.5 },
      { op: 'incr', path: '/m', value: 3 },
    ]
    expect(await patched({ n: 1 }, operations)).toEqual({ n: -1.5, m: 3 })
    expect((await failure(patched({ n: 'text' }, [{ op: 'incr', path: '/n', value: 1 }]))).code).toBe(400)
  })

  test('move takes a value from one path to another', async () => {
    expect(await patched({ a: { b: 1 }, c: {} }, [{ op: 'move', from: '/a/b', path: '/c/d' }])).toEqual({
      a: {},
      c: { d: 1 },
    })
  })

  test('operations apply in order, and a failing one leaves the item as it was', async () => {
    const container = await account.container()
    const { item, etag } = await container.items.create({ id: 'a', pk: 'p', n: 1 })
    const failing: PatchOperation[] = [
      { op: 'incr', path: '/n', value: 1 },
      { op: 'remove', path: '/missing' },
    ]
    expect((await failure(item.patch(failing))).code).toBe(400)
    expect((await item.read()).etag).toBe(etag)
  })

  test('a condition that holds lets the patch through; one that does not is a 412', async () => {
    const container = await account.container()
    const { item } = await container.items.create({ id: 'a', pk: 'p', fence: 3, status: 'running' })
    const claim = (fence: number): PatchRequestBody => ({
      condition: `FROM c WHERE c.fence = ${fence} AND c.status IN ('accepted', 'running')`,
      operations: [{ op: 'incr', path: '/fence', value: 1 }],
    })
    expect((await item.patch(claim(3))).resource).toMatchObject({ fence: 4 })
    expect((await failure(item.patch(claim(3)))).code).toBe(412)
    const missing: PatchRequestBody = {
      condition: 'FROM c WHERE c.nothing != 1',
      operations: [{ op: 'set', path: '/x', value: 1 }],
    }
    expect((await failure(item.patch(missing))).code).toBe(412)
    expect((await item.read()).resource).toMatchObject({ fence: 4 })
  })

  test('of many concurrent patches with one condition exactly one wins', async () => {
    const container = await account.container()
    const { item } = await container.items.create({ id: 'a', pk: 'p', fence: 0 })
    const claim: PatchRequestBody = {
      condition: 'FROM c WHERE c.fence = 0',
      operations: [{ op: 'incr', path: '/fence', value: 1 }],
    }
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => item.patch(structuredClone(claim))))
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  test.each<[string, unknown]>([
    ['no operations', []],
    ['eleven operations', Array.from({ length: 11 }, (_, i) => ({ op: 'set', path: `/a${i}`, value: 1 }))],
    ['an unknown operation', [{ op: 'test', path: '/a', value: 1 }]],
    ['a path without a slash', [{ op: 'set', path: 'a', value: 1 }]],
    ['the id', [{ op: 'set', path: '/id', value: 'b' }]],
    ['the partition key', [{ op: 'set', path: '/pk', value: 'b' }]],
    ['a parent that is missing', [{ op: 'set', path: '/a/b/c', value: 1 }]],
    ['an index outside the array', [{ op: 'add', path: '/list/7', value: 1 }]],
    [
      'a condition that does not parse',
      { condition: 'FROM c WHERE WHERE', operations: [{ op: 'set', path: '/a', value: 1 }] },
    ],
    ['a condition with SELECT', { condition: 'SELECT * FROM c', operations: [{ op: 'set', path: '/a', value: 1 }] }],
  ])('a patch of %s is a 400', async (_, body) => {
    const container = await account.container()
    const { item } = await container.items.create({ id: 'a', pk: 'p', list: [] })
    expect((await failure(item.patch(body as PatchRequestBody))).code).toBe(400)
  })

  test('a patch of a missing item is a 404, and __proto__ is a property like any other', async () => {
    const container = await account.container()
    const operations: PatchOperation[] = [{ op: 'set', path: '/__proto__', value: { polluted: true } }]
    expect((await failure(container.item('none', 'p').patch(operations))).code).toBe(404)
    const { item } = await container.items.create({ id: 'a', pk: 'p' })
    await item.patch(operations)
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })
})
