import { HttpTransportType } from '@microsoft/signalr'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { event } from './signalr-app.ts'
import type { SignalRApp } from './signalr-app.ts'
import { openSignalR } from './signalr-service.ts'

const ways = [
  [HttpTransportType.WebSockets, 'json'],
  [HttpTransportType.WebSockets, 'messagepack'],
  [HttpTransportType.ServerSentEvents, 'json'],
  [HttpTransportType.LongPolling, 'json'],
  [HttpTransportType.LongPolling, 'messagepack'],
] as const

const waiting = { timeout: 10_000, interval: 10 }

describe('delivery', () => {
  let app: SignalRApp
  let close: () => Promise<void>
  let hubCount = 0
  const newHub = (): string => `contract${Date.now().toString(36)}${hubCount++}`

  beforeAll(async () => void ({ app, close } = await openSignalR()))
  afterAll(() => close())

  describe.each(ways)('transport %s with %s', (transport, protocol) => {
    it('delivers a broadcast with every kind of argument', async () => {
      const hub = newHub()
      const client = await app.connect({ hub, transport, protocol })
      const args = ['text ✓ 💥', 1, -2.5, true, null, [1, ['x']], { nested: { list: [], empty: '' } }]
      const sent = await app.call('POST', `/api/hubs/${hub}/:send`, { body: event(...args) })
      expect(sent.status).toBe(202)
      await expect.poll(() => client.received, waiting).toEqual([args])
      await client.connection.stop()
    })

    it('delivers to a user, a group and a connection, in order', async () => {
      const hub = newHub()
      const client = await app.connect({ hub, user: 'u 1/ä', transport, protocol })
      const base = `/api/hubs/${hub}`
      const user = encodeURIComponent('u 1/ä')
      expect((await app.call('PUT', `${base}/groups/g%201/connections/${client.connectionId}`)).status).toBe(200)
      for (const path of [`/users/${user}`, '/groups/g%201', `/connections/${client.connectionId}`]) {
        expect((await app.call('POST', `${base}${path}/:send`, { body: event(path) })).status).toBe(202)
      }
      await expect
        .poll(() => client.received, waiting)
        .toEqual([[`/users/${user}`], ['/groups/g%201'], [`/connections/${client.connectionId}`]])
      await client.connection.stop()
    })

    it('keeps the order of many messages and carries large ones', async () => {
      const hub = newHub()
      const client = await app.connect({ hub, transport, protocol })
      for (let index = 0; index < 50; index++) {
        await app.call('POST', `/api/hubs/${hub}/:send`, {
          body: event(index, index % 10 === 0 ? 'x'.repeat(100_000) : ''),
        })
      }
      await expect.poll(() => client.received.length, waiting).toBe(50)
      expect(client.received.map(([index]) => index)).toEqual(Array.from({ length: 50 }, (_, index) => index))
      await client.connection.stop()
    })

    it('closes with the reason, and then the connection is gone', async () => {
      const hub = newHub()
      const client = await app.connect({ hub, transport, protocol })
      const path = `/api/hubs/${hub}/connections/${client.connectionId}`
      expect((await app.call('HEAD', path)).status).toBe(200)
      expect((await app.call('DELETE', path, { query: { reason: 'moved away' } })).status).toBe(200)
      expect((await client.closed)?.message).toBe('Server returned an error on close: moved away')
      const gone = await app.call('HEAD', path)
      expect(gone.status).toBe(404)
      expect(gone.headers.get('x-ms-error-code')).toBe('Warning.Connection.NotExisted')
    })

    it('notices that a client left', async () => {
      const hub = newHub()
      const client = await app.connect({ hub, user: 'u1', transport, protocol })
      await client.connection.stop()
      const presence = async () => (await app.call('HEAD', `/api/hubs/${hub}/users/u1`)).status
      await expect.poll(presence, waiting).toBe(404)
    })
  })

  it('chooses WebSockets when the client leaves the choice to the service', async () => {
    const hub = newHub()
    const client = await app.connect({ hub, transport: HttpTransportType.WebSockets | HttpTransportType.LongPolling })
    await app.call('POST', `/api/hubs/${hub}/:send`, { body: event('hello') })
    await expect.poll(() => client.received, waiting).toEqual([['hello']])
  })

  it('keeps hubs apart and takes their names in any case', async () => {
    const hub = newHub()
    const inside = await app.connect({ hub })
    const outside = await app.connect({ hub: newHub() })
    await app.call('POST', `/api/hubs/${hub.toUpperCase()}/:send`, { body: event('inside') })
    await app.call('POST', `/api/hubs/${hub}/:send`, { body: event('last') })
    await expect.poll(() => inside.received, waiting).toEqual([['inside'], ['last']])
    expect(outside.received).toEqual([])
  })

  it('excludes connections from broadcasts and group messages', async () => {
    const hub = newHub()
    const [first, second, third] = await Promise.all([app.connect({ hub }), app.connect({ hub }), app.connect({ hub })])
    const excluded = [first.connectionId, second.connectionId]
    for (const { connectionId } of [first, second, third]) {
      await app.call('PUT', `/api/hubs/${hub}/groups/g/connections/${connectionId}`)
    }
    await app.call('POST', `/api/hubs/${hub}/:send`, { query: { excluded }, body: event('broadcast') })
    await app.call('POST', `/api/hubs/${hub}/groups/g/:send`, {
      query: { excluded: first.connectionId },
      body: event('group'),
    })
    await app.call('POST', `/api/hubs/${hub}/:send`, { body: event('all') })
    await expect.poll(() => third.received, waiting).toEqual([['broadcast'], ['group'], ['all']])
    await expect.poll(() => second.received, waiting).toEqual([['group'], ['all']])
    await expect.poll(() => first.received, waiting).toEqual([['all']])
  })

  it('sends to every connection of a user, and to no one else', async () => {
    const hub = newHub()
    const [one, two, other] = await Promise.all([
      app.connect({ hub, user: 'same' }),
      app.connect({ hub, user: 'same', transport: HttpTransportType.LongPolling }),
      app.connect({ hub, user: 'Same' }),
    ])
    await app.call('POST', `/api/hubs/${hub}/users/same/:send`, { body: event('mine') })
    await app.call('POST', `/api/hubs/${hub}/:send`, { body: event('all') })
    await expect.poll(() => one.received, waiting).toEqual([['mine'], ['all']])
    await expect.poll(() => two.received, waiting).toEqual([['mine'], ['all']])
    await expect.poll(() => other.received, waiting).toEqual([['all']])
  })

  it('closes the connections of a hub, a user or a group, but not the excluded ones', async () => {
    const hub = newHub()
    const [one, two, three] = await Promise.all([
      app.connect({ hub, user: 'u1' }),
      app.connect({ hub, user: 'u2' }),
      app.connect({ hub, user: 'u3' }),
    ])
    await app.call('PUT', `/api/hubs/${hub}/groups/g/connections/${one.connectionId}`)
    const closeUser = await app.call('POST', `/api/hubs/${hub}/users/u1/:closeConnections`, {
      query: { reason: 'user' },
    })
    expect(closeUser.status).toBe(204)
    expect((await one.closed)?.message).toContain('user')
    await app.call('PUT', `/api/hubs/${hub}/groups/g/connections/${two.connectionId}`)
    expect((await app.call('POST', `/api/hubs/${hub}/groups/g/:closeConnections`)).status).toBe(204)
    expect(await two.closed).toBeUndefined()
    const four = await app.connect({ hub })
    const excluded = three.connectionId
    expect((await app.call('POST', `/api/hubs/${hub}/:closeConnections`, { query: { excluded } })).status).toBe(204)
    await four.closed
    expect((await app.call('HEAD', `/api/hubs/${hub}/connections/${three.connectionId}`)).status).toBe(200)
  })

  it('disconnects a client that sends, for there is no upstream', async () => {
    const client = await app.connect({ hub: newHub() })
    await expect(client.connection.invoke('method', 1)).rejects.toThrow()
    expect((await client.closed)?.message).toContain('Server returned an error on close')
  })
})
