import { afterEach, describe, expect, test } from 'vitest'
import { connect, failure, realAccount, useAccount, withClient } from './cosmos-account.ts'

type Control = (
  method: string,
  path: string,
  body?: unknown,
) => Promise<{ status: number; body: Record<string, unknown> }>

const controlOf =
  (account: ReturnType<typeof useAccount>): Control =>
  async (method, path, body) => {
    const init = { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) }
    const response = await fetch(`${account.endpoint}_control/${path}`, init)
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }

describe.runIf(realAccount === undefined)('cosmos request unit budget', () => {
  let now = Date.parse('2026-11-21T08:00:00.250Z')
  const account = useAccount({ clock: { now: () => now }, ruPerSecond: 20 })

  test('a second whose units are spent answers 429, substatus 3200, with x-ms-retry-after-ms to its end', async () => {
    const container = await account.container()
    now += 1000
    for (let i = 0; i < 4; i += 1) await container.items.create({ id: `${i}`, pk: 'p' })
    const error = await failure(container.items.create({ id: 'x', pk: 'p' }))
    expect(error).toMatchObject({ code: 429, substatus: 3200, retryAfterInMs: 750 })
    expect(error.message).toContain('Request rate is large')
    now += 750
    expect((await container.items.create({ id: 'x', pk: 'p' })).statusCode).toBe(201)
  })

  test('the SDK waits and retries by itself when it may', async () => {
    const container = await account.container()
    now += 1000
    for (let i = 0; i < 4; i += 1) await container.items.create({ id: `${i}`, pk: 'p' })
    await withClient(connect(account.endpoint, account.key, 5), async (client) => {
      const retried = client.database(account.database.id).container(container.id).items.create({ id: 'x', pk: 'p' })
      now += 1000
      expect((await retried).statusCode).toBe(201)
    })
  })

  test('larger items cost more to write and to read', async () => {
    const container = await account.container()
    now += 1000
    const small = await container.items.create({ id: 'small', pk: 'p' })
    now += 1000
    const large = await container.items.create({ id: 'large', pk: 'p', text: 'x'.repeat(100 * 1024) })
    expect(small.requestCharge).toBeCloseTo(5, 0)
    expect(large.requestCharge).toBeCloseTo(50, 0)
    now += 60_000
    expect((await large.item.read()).requestCharge).toBeCloseTo(10, 0)
  })
})

describe.runIf(realAccount === undefined)('cosmos faults on purpose', () => {
  const account = useAccount()
  const control = controlOf(account)
  afterEach(async () => {
    await control('DELETE', 'faults')
  })

  test('throttle answers 429 for a count of matching requests', async () => {
    const container = await account.container()
    await control('POST', 'faults', {
      faults: [{ type: 'throttle', method: 'POST', path: container.id, count: 2, retryAfterMs: 1 }],
    })
    expect(await failure(container.items.create({ id: 'a', pk: 'p' }))).toMatchObject({ code: 429, retryAfterInMs: 1 })
    expect((await container.item('a', 'p').read()).statusCode).toBe(404)
    expect((await failure(container.items.create({ id: 'a', pk: 'p' }))).code).toBe(429)
    expect((await container.items.create({ id: 'a', pk: 'p' })).statusCode).toBe(201)
  })

  test('unavailable answers 503 until the faults are deleted', async () => {
    const container = await account.container()
    await control('POST', 'faults', { type: 'unavailable', path: '/docs/' })
    expect((await failure(container.item('a', 'p').read())).code).toBe(503)
    expect((await failure(container.item('a', 'p').read())).code).toBe(503)
    await control('DELETE', 'faults')
    expect((await container.item('a', 'p').read()).statusCode).toBe(404)
  })

  test('drop in the request phase loses the write; in the response phase only the answer', async () => {
    const container = await account.container()
    const create = (id: string) => failure(container.items.create({ id, pk: 'p' }))
    await control('POST', 'faults', { type: 'drop', method: 'POST', path: container.id, count: 1 })
    expect((await create('lost')).code).toBe('ECONNRESET')
    await control('POST', 'faults', { type: 'drop', method: 'POST', path: container.id, count: 1, phase: 'response' })
    expect((await create('kept')).code).toBe('ECONNRESET')
    expect((await container.item('lost', 'p').read()).statusCode).toBe(404)
    expect((await container.item('kept', 'p').read()).statusCode).toBe(200)
  })

  test('delay holds a request back for that long', async () => {
    const container = await account.container()
    await control('POST', 'faults', { type: 'delay', delayMs: 200, path: '/docs/slow', count: 1 })
    const start = performance.now()
    await container.item('slow', 'p').read()
    expect(performance.now() - start).toBeGreaterThan(190)
  })

  test('refuse closes connections, then lets them in again', async () => {
    const container = await account.container()
    await control('POST', 'faults', { type: 'refuse', durationMs: 300 })
    const deadline = Date.now() + 5000
    const attempt = () =>
      container.items.upsert({ id: 'a', pk: 'p' }).then(
        ({ statusCode }) => statusCode,
        (error: { code: unknown }) => error.code,
      )
    // The control reply is sent before the connections close.
    while ((await attempt()) !== 'ECONNRESET') expect(Date.now()).toBeLessThan(deadline)
    while (![200, 201].includes((await attempt()) as number)) expect(Date.now()).toBeLessThan(deadline)
  })

  test('state reports containers, faults and counters; reset empties the account', async () => {
    const container = await account.container()
    await container.items.create({ id: 'a', pk: 'p' })
    await control('POST', 'faults', { type: 'delay', delayMs: 1, path: '/nowhere' })
    const { body } = await control('GET', 'state')
    expect(body['faults']).toEqual([{ type: 'delay', delayMs: 1, path: '/nowhere' }])
    expect(JSON.stringify(body['databases'])).toContain(`{"id":"${container.id}","items":1,`)
    expect(body['requests']).toBeGreaterThan(0)
    expect((await control('POST', 'throughput', { ruPerSecond: 0 })).status).toBe(200)
    expect((await failure(container.item('a', 'p').read())).code).toBe(429)
    await control('POST', 'throughput', { ruPerSecond: null })
    await control('POST', 'reset')
    expect((await control('GET', 'state')).body).toMatchObject({ databases: [], faults: [] })
    expect((await failure(account.database.read())).code).toBe(404)
    await account.client.databases.create({ id: account.database.id })
  })

  test.each<[string, string, unknown]>([
    ['POST', 'faults', { type: 'explode' }],
    ['POST', 'faults', { type: 'delay', delayMs: -1 }],
    ['POST', 'faults', { type: 'refuse' }],
    ['POST', 'faults', { type: 'drop', path: 7 }],
    ['POST', 'faults', 'delay'],
    ['POST', 'throughput', { ruPerSecond: 'many' }],
  ])('%s %s with %j is a 400', async (method, path, body) => {
    expect((await control(method, path, body)).status).toBe(400)
  })

  test('a control path that does not exist is a 404', async () => {
    expect((await control('GET', 'nothing')).status).toBe(404)
  })
})

describe.runIf(realAccount === undefined)('cosmos hostile input', () => {
  const account = useAccount()

  test('paths, methods and bodies that make no sense are answered with an error, and the account lives on', async () => {
    const { endpoint } = account
    const requests: [string, RequestInit][] = [
      ['%E0%A4%A', {}],
      ['dbs/%00/colls/..%2F..', { method: 'PUT', body: '\u0000' }],
      ['dbs/a/colls/b/docs', { method: 'POST', body: '[[[[' }],
      ['dbs/a/colls/b/docs/c/attachments/d/e/f', { method: 'OPTIONS' }],
      ['x'.repeat(5000), { method: 'DELETE' }],
      ['dbs', { method: 'POST', body: 'x'.repeat(6_000_000) }],
      ['_control/faults', { method: 'POST', body: '{' }],
    ]
    for (const [path, init] of requests) {
      const response = await fetch(endpoint + path, init)
      expect(response.status).toBeGreaterThanOrEqual(400)
      expect(response.status).toBeLessThan(500)
    }
    expect((await account.database.read()).statusCode).toBe(200)
  })
})
