import { createHmac } from 'node:crypto'
import { CosmosClient, type ContainerDefinition } from '@azure/cosmos'
import { startCosmosEmulator } from '@sluice/emulator-cosmos'
import { describe, expect, test } from 'vitest'
import { connect, failure, hierarchical, realAccount, useAccount, withClient } from './cosmos-account.ts'

describe('cosmos databases and containers', () => {
  const account = useAccount()

  test('createIfNotExists creates a database once: 201, then 200', async () => {
    const id = `d-${Date.now()}`
    const first = await account.client.databases.createIfNotExists({ id })
    const second = await account.client.databases.createIfNotExists({ id })
    expect([first.statusCode, second.statusCode]).toEqual([201, 200])
    expect(second.resource?._rid).toBe(first.resource?._rid)
    await first.database.delete()
    expect((await failure(first.database.read())).code).toBe(404)
  })

  test('a database that exists already is a 409', async () => {
    const { id } = account.database
    expect((await failure(account.client.databases.create({ id }))).code).toBe(409)
  })

  test('databases are listed and queried by id', async () => {
    const { resources } = await account.client.databases.readAll().fetchAll()
    expect(resources.map(({ id }) => id)).toContain(account.database.id)
    const query = {
      query: 'SELECT * FROM root r WHERE r.id = @id',
      parameters: [{ name: '@id', value: account.database.id }],
    }
    expect((await account.client.databases.query(query).fetchAll()).resources).toHaveLength(1)
  })

  test('createIfNotExists creates a container once and reads back its definition', async () => {
    const definition = {
      id: 'defined',
      partitionKey: { paths: ['/tenant/name'] },
      defaultTtl: 60,
      uniqueKeyPolicy: { uniqueKeys: [{ paths: ['/email'] }] },
    }
    const first = await account.database.containers.createIfNotExists(definition)
    const second = await account.database.containers.createIfNotExists(definition)
    expect([first.statusCode, second.statusCode]).toEqual([201, 200])
    expect(second.resource).toMatchObject({ defaultTtl: 60, uniqueKeyPolicy: definition.uniqueKeyPolicy })
    expect(second.resource?.partitionKey?.paths).toEqual(['/tenant/name'])
    expect(second.resource?.indexingPolicy?.automatic).toBe(true)
  })

  test('a container that exists already is a 409', async () => {
    const container = await account.container()
    expect((await failure(account.container({ id: container.id }))).code).toBe(409)
  })

  test('reading a container or a database that is missing is a 404', async () => {
    expect((await failure(account.database.container('missing').read())).code).toBe(404)
    expect((await failure(account.client.database('missing').container('missing').read())).code).toBe(404)
  })

  test('an operation on items of a missing container is a 404 with substatus 1003', async () => {
    const query = account.database.container('missing').items.query('SELECT * FROM c').fetchAll()
    expect(await failure(query)).toMatchObject({ code: 404, substatus: 1003 })
  })

  test('a deleted container is gone with its items, and its name can be used again', async () => {
    const container = await account.container({ id: 'again' })
    await container.items.create({ id: 'a', pk: 'p' })
    await container.delete()
    const created = await account.container({ id: 'again' })
    expect((await created.items.readAll().fetchAll()).resources).toEqual([])
  })

  test('replace changes the default TTL and refuses another partition key with 400', async () => {
    const container = await account.container()
    const { resource } = await container.replace({ id: container.id, partitionKey: { paths: ['/pk'] }, defaultTtl: 5 })
    expect(resource?.defaultTtl).toBe(5)
    const other = container.replace({ id: container.id, partitionKey: { paths: ['/other'] } })
    expect((await failure(other)).code).toBe(400)
  })

  test.each<[string, ContainerDefinition]>([
    ['an id with a slash', { id: 'a/b', partitionKey: { paths: ['/pk'] } }],
    ['a path without a slash', { partitionKey: { paths: ['pk'] } }],
    ['four levels of keys', { partitionKey: hierarchical('/a', '/b', '/c', '/d') }],
    ['a default TTL of 0', { partitionKey: { paths: ['/pk'] }, defaultTtl: 0 }],
    [
      'a composite index of one path',
      {
        partitionKey: { paths: ['/pk'] },
        indexingPolicy: { compositeIndexes: [[{ path: '/a', order: 'ascending' as const }]] },
      },
    ],
  ])('a container with %s is refused', async (_, definition) => {
    const error = await failure(account.container(definition))
    // The SDK itself refuses ids with slashes, without a code.
    expect([400, undefined]).toContain(error.code)
  })

  test('ids with spaces, percent signs and other scripts are signed and found', async () => {
    const container = await account.container({ id: 'größe 100% ü' })
    await container.items.create({ id: 'ключ %41 &+', pk: 'p q' })
    const { resource } = await container.item('ключ %41 &+', 'p q').read()
    expect(resource?.id).toBe('ключ %41 &+')
  })
})

describe('cosmos authorization', () => {
  const account = useAccount()
  const version = '2018-12-31'
  const otherKey = Buffer.alloc(64, 7).toString('base64')

  const signed = (key: string, date: string): Record<string, string> => {
    const signature = createHmac('sha256', Buffer.from(key, 'base64'))
      .update(`get\ndbs\n\n${date.toLowerCase()}\n\n`)
      .digest('base64')
    return {
      authorization: encodeURIComponent(`type=master&ver=1.0&sig=${signature}`),
      'x-ms-date': date,
      'x-ms-version': version,
    }
  }

  const listed = (client: CosmosClient) => client.databases.readAll().fetchAll()

  test('another key is a 401 whose message says that the token does not serve', async () => {
    const error = await withClient(connect(account.endpoint, otherKey), (client) => failure(listed(client)))
    expect(error.code).toBe(401)
    expect(error.message).toContain("authorization token can't serve the request")
  })

  test.runIf(realAccount === undefined)('a key given at start replaces the well-known one', async () => {
    const emulator = await startCosmosEmulator({ key: otherKey })
    const welcome = await withClient(connect(emulator.endpoint, otherKey), listed)
    const stranger = await withClient(connect(emulator.endpoint, account.key), (client) => failure(listed(client)))
    await emulator.close()
    expect(welcome.resources).toEqual([])
    expect(stranger.code).toBe(401)
  })

  test('a request without a token is a 401 and one signed an hour ago a 403', async () => {
    const url = `${account.endpoint}dbs`
    expect((await fetch(url, { headers: { 'x-ms-version': version } })).status).toBe(401)
    const fresh = await fetch(url, { headers: signed(account.key, new Date().toUTCString()) })
    expect(fresh.status).toBe(200)
    const stale = await fetch(url, {
      headers: signed(account.key, new Date(Date.now() - 3_600_000).toUTCString()),
    })
    expect(stale.status).toBe(403)
    expect(await stale.json()).toMatchObject({ code: 'Forbidden' })
  })

  test
    .runIf(realAccount === undefined)
    .each(['%', 'type=master', 'type=master&ver=1.0&sig=', 'Bearer x', 'type%3Dmaster%26ver%3D1.0%26sig%3D!!'])(
    'the malformed token %s is a 401',
    async (token) => {
      const headers = { authorization: token, 'x-ms-date': new Date().toUTCString() }
      const response = await fetch(`${account.endpoint}dbs`, { headers })
      expect(response.status).toBe(401)
      expect(await response.json()).toMatchObject({ code: 'Unauthorized' })
    },
  )

  test('clients with endpoint discovery read the account and work', async () => {
    const { endpoint, key } = account
    await withClient(new CosmosClient({ endpoint, key }), async (client) => {
      expect((await client.getDatabaseAccount()).resource?.writableLocations).toHaveLength(1)
      expect((await client.database(account.database.id).read()).statusCode).toBe(200)
    })
  })
})
