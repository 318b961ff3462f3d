import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type CosmosEmulator, startCosmosEmulator } from '@sluice/emulator-cosmos'
import { AppError } from '@sluice/errors'
import { condition, connectCosmos, type Cosmos } from '@sluice/storage'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

interface Counted {
  id: string
  tenant: string
  status: string
  fence: number
  tags: string[]
  updated_at: string
  published: boolean
}

const row = (id: string, tenant = 'contoso'): Counted => ({
  id,
  tenant,
  status: 'accepted',
  fence: 0,
  tags: [],
  updated_at: `2026-01-01T00:00:00.${id.padStart(3, '0')}Z`,
  published: false,
})

describe('rows in Cosmos', () => {
  let emulator: CosmosEmulator
  let cosmos: Cosmos
  beforeAll(async () => {
    emulator = await startCosmosEmulator({})
    cosmos = connectCosmos({ endpoint: emulator.endpoint, key: emulator.key, database: 'sluice' })
    await cosmos.provision()
  })
  afterAll(async () => {
    await cosmos.close()
    await emulator.close()
  })

  it('provisions what is missing and leaves what is there', async () => {
    await cosmos.rows<Counted>('requests').create(row('900'))
    await cosmos.provision()
    await cosmos.ping()
    expect(await cosmos.rows<Counted>('requests').read('900', ['contoso', '900'])).toEqual(row('900'))
  })

  it('creates a row once', async () => {
    const rows = cosmos.rows<Counted>('requests')
    expect(await Promise.all([rows.create(row('1')), rows.create(row('1')), rows.create(row('1'))])).toEqual(
      expect.arrayContaining([true, false, false]),
    )
    expect(await rows.read('1', ['contoso', '1'])).toEqual(row('1'))
  })

  it('keeps tenants apart by the partition key', async () => {
    const rows = cosmos.rows<Counted>('requests')
    await rows.create(row('2', 'contoso'))
    expect(await rows.read('2', ['fabrikam', '2'])).toBeUndefined()
    expect(await rows.create(row('2', 'fabrikam'))).toBe(true)
  })

  it.each(['..', '.', '../docs', 'a/b', 'a\\b', 'a?b', 'a#b', 'a\nb', '', 'x'.repeat(256)])(
    'has no row of the id %j, which would be a path of its own',
    async (id) => {
      const rows = cosmos.rows<Counted>('requests')
      expect(await rows.read(id, ['contoso', id])).toBeUndefined()
      expect(await rows.remove(id, ['contoso', id])).toBe(false)
      const operations = [{ op: 'set' as const, path: '/status', value: 'running' }]
      expect(await rows.patch({ id, key: ['contoso', id], operations })).toEqual({ kind: 'missing' })
    },
  )

  it('patches only what its condition allows', async () => {
    const rows = cosmos.rows<Counted>('requests')
    await rows.create(row('3'))
    const patch = {
      id: '3',
      key: ['contoso', '3'],
      when: condition`c.fence = ${0} AND c.status IN (${['accepted', 'waiting']})`,
      operations: [
        { op: 'set' as const, path: '/status', value: 'running' },
        { op: 'incr' as const, path: '/fence', value: 1 },
      ],
    }
    const outcomes = await Promise.all([rows.patch(patch), rows.patch(patch), rows.patch(patch)])
    expect(outcomes.filter(({ kind }) => kind === 'patched')).toEqual([
      { kind: 'patched', row: { ...row('3'), status: 'running', fence: 1 } },
    ])
    expect(outcomes.filter(({ kind }) => kind === 'condition_failed')).toHaveLength(2)
    expect(await rows.patch({ ...patch, id: 'none', key: ['contoso', 'none'] })).toEqual({ kind: 'missing' })
  })

  it('takes a value in a condition as a value, whatever it contains', async () => {
    const rows = cosmos.rows<Counted>('requests')
    await rows.create({ ...row('4'), status: `it's "quoted" \\ OR true` })
    const when = (status: string) => condition`c.status = ${status}`
    const patch = { id: '4', key: ['contoso', '4'], operations: [{ op: 'set' as const, path: '/fence', value: 9 }] }
    expect(await rows.patch({ ...patch, when: when('" OR true OR "" = "') })).toEqual({ kind: 'condition_failed' })
    expect(await rows.patch({ ...patch, when: when(`it's "quoted" \\ OR true`) })).toMatchObject({ kind: 'patched' })
  })

  it('patches many rows at once and says which may be tried again', async () => {
    const rows = cosmos.rows<Counted>('requests')
    const ids = Array.from({ length: 150 }, (_, index) => String(100 + index))
    await Promise.all(ids.map((id) => rows.create(row(id, 'bulk'))))
    const patches = [...ids, 'none'].map((id) => ({
      id,
      key: ['bulk', id],
      operations: [{ op: 'set' as const, path: '/published', value: true }],
      ...(id === '100' ? { when: condition`c.fence = ${7}` } : {}),
    }))
    expect(await rows.patchAll(patches, 10_000)).toEqual([])
    expect((await rows.read('101', ['bulk', '101']))?.published).toBe(true)
    expect((await rows.read('249', ['bulk', '249']))?.published).toBe(true)
    expect((await rows.read('100', ['bulk', '100']))?.published).toBe(false)
  })

  it('creates many rows of many partitions at once and says which were there', async () => {
    const rows = cosmos.rows<Counted>('requests')
    await rows.create(row('2', 'many'))
    const all = ['1', '2', '3'].map((id) => ({ row: row(id, 'many'), key: ['many', id] }))
    expect(await rows.createAll(all)).toEqual(['created', 'exists', 'created'])
    expect((await rows.read('3', ['many', '3']))?.id).toBe('3')
  })

  it('finds rows of all partitions in order, with a limit and a position to go on from', async () => {
    const rows = cosmos.rows<Counted>('requests')
    await Promise.all(Array.from({ length: 9 }, (_, index) => rows.create(row(String(500 + index), `order-${index}`))))
    const sql =
      `SELECT c.id FROM c WHERE c.published = false AND c.updated_at >= @from AND c.updated_at < @to ` +
      `ORDER BY c.published ASC, c.updated_at ASC, c.id ASC`
    const to = '2026-01-01T00:00:00.509Z'
    const page = (from: string) => rows.query<{ id: string }>({ sql, parameters: { from, to }, limit: 4 })
    expect((await page('2026-01-01T00:00:00.500Z')).map(({ id }) => id)).toEqual(['500', '501', '502', '503'])
    expect((await page('2026-01-01T00:00:00.507Z')).map(({ id }) => id)).toEqual(['507', '508'])
  })

  it('ends an operation with the reason of the signal', async () => {
    const reason = new AppError('shutting_down', 'enough')
    const rows = cosmos.rows<Counted>('requests')
    await expect(rows.read('1', ['contoso', '1'], AbortSignal.abort(reason))).rejects.toBe(reason)
  })

  it('says so when the container or the database is missing', async () => {
    const nowhere = connectCosmos({ endpoint: emulator.endpoint, key: emulator.key, database: 'nowhere' })
    try {
      await expect(nowhere.ping()).rejects.toMatchObject({ code: 'storage_unavailable' })
      await expect(nowhere.rows<Counted>('requests').create(row('1'))).rejects.toMatchObject({ name: 'AppError' })
    } finally {
      await nowhere.close()
    }
  })
})

describe('a Cosmos account that does not answer as it should', () => {
  let server: Server | undefined
  afterEach(() => {
    server?.closeAllConnections()
    server?.close()
  })

  async function answering(status: number, headers: Record<string, string> = {}, body = '{"message":"no\\nmore"}') {
    server = createServer((request, response) => {
      request.resume().on('end', () => {
        response.writeHead(status, { 'content-type': 'application/json', ...headers })
        response.end(body)
      })
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server?.once('listening', resolve))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  const patch = { id: '1', key: ['contoso', '1'], operations: [{ op: 'set' as const, path: '/a', value: 1 }] }
  async function failureOf(endpoint: string, deadlineMs = 1_000): Promise<AppError> {
    const cosmos = connectCosmos({ endpoint, key: 'a2V5', database: 'sluice', deadlineMs })
    try {
      return (await cosmos
        .rows<Counted>('requests')
        .patch(patch)
        .catch((error: unknown) => error)) as AppError
    } finally {
      await cosmos.close()
    }
  }

  it.each([
    [500, 'storage_unavailable'],
    [503, 'storage_unavailable'],
    [408, 'storage_unavailable'],
    [401, 'internal'],
    [400, 'internal'],
    [413, 'message_too_large'],
  ])('%i becomes %s', async (status, code) => {
    expect(await failureOf(await answering(status))).toMatchObject({ name: 'AppError', code })
  })

  it('passes on how long a throttled account asks to wait, after a bounded number of tries', async () => {
    const endpoint = await answering(429, { 'x-ms-retry-after-ms': '30' })
    expect(await failureOf(endpoint)).toMatchObject({ code: 'storage_unavailable', retryAfterMs: 30 })
  })

  it('becomes storage_unavailable when the connection is refused or dies', async () => {
    const endpoint = await answering(200)
    const gone = server
    await new Promise((resolve) => gone?.close(resolve))
    expect(await failureOf(endpoint)).toMatchObject({ code: 'storage_unavailable' })
    server = createServer((request) => request.socket.destroy()).listen(0, '127.0.0.1')
    await new Promise((resolve) => server?.once('listening', resolve))
    const dying = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    expect(await failureOf(dying)).toMatchObject({ code: 'storage_unavailable' })
  })

  it('becomes storage_unavailable at the deadline', async () => {
    server = createServer(() => {}).listen(0, '127.0.0.1')
    await new Promise((resolve) => server?.once('listening', resolve))
    const silent = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    expect(await failureOf(silent, 50)).toMatchObject({ code: 'storage_unavailable' })
  })
})
