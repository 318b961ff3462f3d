import { describe, expect, test } from 'vitest'
import { failure, hierarchical, realAccount, useAccount } from './cosmos-account.ts'

describe('cosmos items', () => {
  const account = useAccount()

  test('create answers 201 with the item, its system properties, an etag and a request charge', async () => {
    const container = await account.container()
    const created = await container.items.create({ id: 'a', pk: 'p', n: 1.5, text: 'ü\u2028', list: [null, true, {}] })
    expect(created.statusCode).toBe(201)
    expect(created.resource).toMatchObject({ id: 'a', pk: 'p', n: 1.5, text: 'ü\u2028', list: [null, true, {}] })
    expect(created.resource?._etag).toBe(created.etag)
    expect(Math.abs((created.resource?._ts ?? 0) - Date.now() / 1000)).toBeLessThan(60)
    expect(created.requestCharge).toBeGreaterThan(0)
    const read = await container.item('a', 'p').read()
    expect(read.resource).toEqual(created.resource)
    expect(read.requestCharge).toBeLessThan(created.requestCharge)
  })

  test('an item that is missing is a 404, also under the wrong partition key', async () => {
    const container = await account.container()
    await container.items.create({ id: 'a', pk: 'p' })
    expect((await container.item('a', 'q').read()).statusCode).toBe(404)
    expect((await failure(container.item('a', 'q').replace({ id: 'a', pk: 'q' }))).code).toBe(404)
    expect((await failure(container.item('a', 'q').delete())).code).toBe(404)
  })

  test('the same id is a 409 in its partition and a new item in another', async () => {
    const container = await account.container()
    await container.items.create({ id: 'a', pk: 'p' })
    expect(await failure(container.items.create({ id: 'a', pk: 'p' }))).toMatchObject({ code: 409 })
    expect((await container.items.create({ id: 'a', pk: 'q' })).statusCode).toBe(201)
  })

  test('upsert answers 201 when it creates and 200 when it replaces', async () => {
    const container = await account.container()
    const first = await container.items.upsert({ id: 'a', pk: 'p', n: 1 })
    const second = await container.items.upsert({ id: 'a', pk: 'p', m: 2 })
    expect([first.statusCode, second.statusCode]).toEqual([201, 200])
    expect(second.resource).not.toHaveProperty('n')
  })

  test('replace keeps the _rid and changes the _etag', async () => {
    const container = await account.container()
    const { resource, item } = await container.items.create({ id: 'a', pk: 'p' })
    const { resource: replaced } = await item.replace({ id: 'a', pk: 'p', n: 1 })
    expect(replaced?._rid).toBe(resource?._rid)
    expect(replaced?._etag).not.toBe(resource?._etag)
  })

  test('delete answers 204 and the item is gone', async () => {
    const container = await account.container()
    const { item } = await container.items.create({ id: 'a', pk: 'p' })
    expect((await item.delete()).statusCode).toBe(204)
    expect((await item.read()).statusCode).toBe(404)
  })

  test('_rid grows from item to item', async () => {
    const container = await account.container()
    const rids: string[] = []
    for (let i = 0; i < 70; i += 1)
      rids.push((await container.items.create({ id: `${i}`, pk: 'p' })).resource?._rid ?? '')
    expect(rids).toEqual(rids.toSorted())
    expect(new Set(rids).size).toBe(70)
  })

  test.each(['/', '\\', '#'])('an id with %s is refused', async (character) => {
    const container = await account.container()
    await expect(container.items.create({ id: `a${character}b`, pk: 'p' })).rejects.toThrow()
  })

  test('a body whose partition key differs from the header is a 400 with substatus 1001', async () => {
    const container = await account.container()
    await container.items.create({ id: 'a', pk: 'p' })
    expect(await failure(container.item('a', 'p').replace({ id: 'a', pk: 'other' }))).toMatchObject({
      code: 400,
      substatus: 1001,
    })
  })

  test('an item over 2 MiB is a 413, also as the result of a patch', async () => {
    const container = await account.container()
    expect((await failure(container.items.create({ id: 'a', pk: 'p', text: 'x'.repeat(2_200_000) }))).code).toBe(413)
    const { item } = await container.items.create({ id: 'b', pk: 'p', text: 'x'.repeat(1_500_000) })
    expect((await failure(item.patch([{ op: 'add', path: '/more', value: 'y'.repeat(800_000) }]))).code).toBe(413)
    expect((await item.read()).resource).not.toHaveProperty('more')
  })

  test('an item nested 200 levels deep is a 400', async () => {
    const container = await account.container()
    const deep = JSON.parse(`${'{"a":'.repeat(200)}1${'}'.repeat(200)}`) as object
    expect((await failure(container.items.create({ id: 'a', pk: 'p', deep }))).code).toBe(400)
  })

  test('null, numbers, booleans and a missing property are partition keys of their own', async () => {
    const container = await account.container()
    for (const [i, pk] of [null, 1, true, '1', undefined].entries())
      await container.items.create({ id: 'a', n: i, ...(pk === undefined ? {} : { pk }) })
    expect((await container.item('a', 1).read()).resource).toMatchObject({ n: 1 })
    expect((await container.item('a', '1').read()).resource).toMatchObject({ n: 3 })
    expect((await container.item('a', null).read()).resource).toMatchObject({ n: 0 })
    expect((await container.item('a', undefined).read()).resource).toMatchObject({ n: 4 })
  })

  test('hierarchical keys address an item by all levels and nothing less', async () => {
    const container = await account.container({ partitionKey: hierarchical('/tenant', '/user', '/id') })
    await container.items.create({ id: 'a', tenant: 't', user: 'u', n: 1 })
    expect((await container.item('a', ['t', 'u', 'a']).read()).resource).toMatchObject({ n: 1 })
    expect((await container.item('a', ['t', 'v', 'a']).read()).statusCode).toBe(404)
    expect((await failure(container.item('a', ['t']).delete())).code).toBe(400)
  })

  test('deleteAllItemsForPartitionKey empties one logical partition', async () => {
    const container = await account.container()
    for (const name of ['pa', 'pb', 'qa']) await container.items.create({ id: name, pk: name.charAt(0) })
    await container.deleteAllItemsForPartitionKey('p')
    expect((await container.items.readAll().fetchAll()).resources.map(({ pk }) => pk as string)).toEqual(['q'])
  })
})

describe('cosmos preconditions', () => {
  const account = useAccount()
  const ifMatch = (condition: string) => ({ accessCondition: { type: 'IfMatch', condition } })
  const ifNoneMatch = (condition: string) => ({ accessCondition: { type: 'IfNoneMatch', condition } })

  test('If-Match: a stale etag is a 412 for replace, upsert, patch and delete; the current one succeeds', async () => {
    const container = await account.container()
    const { item, etag: stale } = await container.items.create({ id: 'a', pk: 'p' })
    const { etag } = await item.replace({ id: 'a', pk: 'p', n: 1 }, ifMatch(stale))
    const body = { id: 'a', pk: 'p', n: 2 }
    expect((await failure(item.replace(body, ifMatch(stale)))).code).toBe(412)
    expect((await failure(container.items.upsert(body, ifMatch(stale)))).code).toBe(412)
    expect((await failure(item.patch([{ op: 'incr', path: '/n', value: 1 }], ifMatch(stale)))).code).toBe(412)
    expect((await failure(item.delete(ifMatch(stale)))).code).toBe(412)
    expect((await item.delete(ifMatch(etag))).statusCode).toBe(204)
  })

  test('If-None-Match * on create and upsert: 409 when the item exists', async () => {
    const container = await account.container()
    const body = { id: 'a', pk: 'p' }
    expect((await container.items.upsert(body, ifNoneMatch('*'))).statusCode).toBe(201)
    expect((await failure(container.items.create(body, ifNoneMatch('*')))).code).toBe(409)
    expect((await failure(container.items.upsert(body, ifNoneMatch('*')))).code).toBe(409)
  })

  test('If-None-Match with the current etag: 304 on a read, 200 after a change', async () => {
    const container = await account.container()
    const { item, etag } = await container.items.create({ id: 'a', pk: 'p' })
    expect((await item.read(ifNoneMatch(etag))).statusCode).toBe(304)
    await item.replace({ id: 'a', pk: 'p', n: 1 })
    expect((await item.read(ifNoneMatch(etag))).statusCode).toBe(200)
  })

  test('of many concurrent replaces with one etag exactly one wins', async () => {
    const container = await account.container()
    const { item, etag } = await container.items.create({ id: 'a', pk: 'p' })
    const race = Array.from({ length: 20 }, (_, n) => item.replace({ id: 'a', pk: 'p', n }, ifMatch(etag)))
    const outcomes = await Promise.allSettled(race)
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })
})

describe('cosmos unique keys', () => {
  const account = useAccount()
  const unique = { uniqueKeyPolicy: { uniqueKeys: [{ paths: ['/email'] }, { paths: ['/name/first', '/name/last'] }] } }

  test('a value taken in the partition is a 409 for create, upsert, replace and patch; other partitions are free', async () => {
    const container = await account.container(unique)
    await container.items.create({ id: 'a', pk: 'p', email: 'x', name: { first: 'f', last: 'l' } })
    const { item } = await container.items.create({ id: 'b', pk: 'p', email: 'y', name: { first: 'f', last: 'm' } })
    expect((await failure(container.items.create({ id: 'c', pk: 'p', email: 'x' }))).code).toBe(409)
    expect((await failure(container.items.upsert({ id: 'c', pk: 'p', email: 'x' }))).code).toBe(409)
    expect((await failure(item.replace({ id: 'b', pk: 'p', email: 'x' }))).code).toBe(409)
    expect((await failure(item.patch([{ op: 'set', path: '/name/last', value: 'l' }]))).code).toBe(409)
    expect((await container.items.create({ id: 'c', pk: 'q', email: 'x' })).statusCode).toBe(201)
  })

  test('one item of a partition may lack the property, and 1 is not "1"', async () => {
    const container = await account.container({ uniqueKeyPolicy: { uniqueKeys: [{ paths: ['/email'] }] } })
    await container.items.create({ id: 'a', pk: 'p' })
    expect((await failure(container.items.create({ id: 'b', pk: 'p' }))).code).toBe(409)
    await container.items.create({ id: 'c', pk: 'p', email: 1 })
    expect((await container.items.create({ id: 'd', pk: 'p', email: '1' })).statusCode).toBe(201)
  })
})

describe.runIf(realAccount === undefined)('cosmos time to live', () => {
  let now = Date.parse('2026-11-21T08:00:00Z')
  const account = useAccount({ clock: { now: () => now } })
  const passSeconds = (seconds: number): void => {
    now += seconds * 1000
  }

  test('the default TTL expires items, a ttl of their own is longer, -1 forever', async () => {
    const container = await account.container({ defaultTtl: 10 })
    await container.items.create({ id: 'default', pk: 'p' })
    await container.items.create({ id: 'longer', pk: 'p', ttl: 20 })
    await container.items.create({ id: 'forever', pk: 'p', ttl: -1 })
    const ids = async () => (await container.items.query('SELECT VALUE c.id FROM c').fetchAll()).resources as unknown
    passSeconds(9)
    expect(await ids()).toEqual(['default', 'longer', 'forever'])
    passSeconds(1)
    expect(await ids()).toEqual(['longer', 'forever'])
    expect((await container.item('default', 'p').read()).statusCode).toBe(404)
    passSeconds(1000)
    expect(await ids()).toEqual(['forever'])
  })

  test('a write starts the TTL anew, and an expired id can be created again', async () => {
    const container = await account.container({ defaultTtl: 10 })
    const { item } = await container.items.create({ id: 'a', pk: 'p' })
    passSeconds(8)
    await item.patch([{ op: 'set', path: '/n', value: 1 }])
    passSeconds(8)
    expect((await item.read()).statusCode).toBe(200)
    passSeconds(2)
    expect((await container.items.create({ id: 'a', pk: 'p' })).statusCode).toBe(201)
  })

  test('without a default TTL items never expire; switching it on counts from their last write', async () => {
    const container = await account.container()
    await container.items.create({ id: 'a', pk: 'p', ttl: 1 })
    passSeconds(100)
    expect((await container.item('a', 'p').read()).statusCode).toBe(200)
    await container.replace({ id: container.id, partitionKey: { paths: ['/pk'] }, defaultTtl: -1 })
    expect((await container.item('a', 'p').read()).statusCode).toBe(404)
  })

  test.each<unknown>([0, -2, 1.5, 'soon'])('a ttl of %s is a 400', async (ttl) => {
    const container = await account.container({ defaultTtl: -1 })
    expect((await failure(container.items.create({ id: 'a', pk: 'p', ttl: ttl as number }))).code).toBe(400)
  })
})
