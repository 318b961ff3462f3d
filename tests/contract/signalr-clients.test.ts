import { once } from 'node:events'

import { HttpTransportType, HubConnectionState } from '@microsoft/signalr'
import type { SignalREmulatorOptions } from '@sluice/emulator-signalr'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'

import { event } from './signalr-app.ts'
import type { SignalRApp } from './signalr-app.ts'
import { onAzure, openSignalR } from './signalr-service.ts'

const waiting = { timeout: 10_000, interval: 10 }

let close: () => Promise<void>
let app: SignalRApp
let clockOffsetMs = 0

async function start(options: SignalREmulatorOptions = {}): Promise<void> {
  clockOffsetMs = 0
  ;({ app, close } = await openSignalR({ clock: () => Date.now() + clockOffsetMs, ...options }))
}
afterEach(() => close())

const state = async () =>
  (await (await fetch(`${app.url}/_control/state`)).json()) as {
    hubs: Record<
      string,
      { connectionCount: number; connections: { user?: string; transport: string; protocol: string }[] }
    >
    clients: { opened: number; closedFor: Record<string, number> }
  }

const negotiate = (query?: string, token?: string) => app.negotiate(query, token)
const openSocket = () => app.openSocket()
const socketUrl = () => app.clientUrl('chat').replace('http', 'ws')

describe('negotiation', () => {
  it('offers three transports, and two ids from version 1 on', async () => {
    await start()
    const first = (await (await negotiate()).json()) as Record<string, unknown>
    expect(first).toMatchObject({
      negotiateVersion: 1,
      availableTransports: [
        { transport: 'WebSockets', transferFormats: ['Text', 'Binary'] },
        { transport: 'ServerSentEvents', transferFormats: ['Text'] },
        { transport: 'LongPolling', transferFormats: ['Text', 'Binary'] },
      ],
    })
    expect(first['connectionId']).not.toBe(first['connectionToken'])
    const zero = (await (await negotiate('hub=chat')).json()) as Record<string, unknown>
    expect(zero).toMatchObject({ negotiateVersion: 0 })
    expect(zero).not.toHaveProperty('connectionToken')
  })

  it('refuses wrong audiences, hubs, methods and expired tokens', async () => {
    await start()
    expect((await negotiate('hub=chat', await app.clientToken('other'))).status).toBe(401)
    expect((await negotiate('hub=chat', await app.sign(`${app.audience}/api/hubs/chat`))).status).toBe(401)
    expect((await negotiate('hub=chat', await app.sign(app.clientUrl('chat'), {}, Date.now() - 1000))).status).toBe(401)
    expect((await negotiate('hub=chat', '')).status).toBe(401)
    expect((await negotiate('hub=', await app.sign(`${app.audience}/client/`))).status).toBe(400)
    expect((await fetch(`${app.url}/client/negotiate?hub=chat`)).status).toBe(401)
    await expect(app.build({ hub: 'not-a-name' }).start()).rejects.toThrow(/400/)
  })

  it('answers a browser from another origin', async () => {
    await start()
    const preflight = await fetch(`${app.url}/client/negotiate?hub=chat`, {
      method: 'OPTIONS',
      headers: {
        origin: 'http://page.example',
        'access-control-request-headers': 'authorization,x-signalr-user-agent',
      },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('access-control-allow-origin')).toBe('http://page.example')
    expect(preflight.headers.get('access-control-allow-headers')).toContain('authorization')
  })

  it('binds a connection token to its hub and user, and to one transport', async () => {
    await start()
    const { connectionToken } = (await (await negotiate()).json()) as { connectionToken: string }
    const get = async (id: string, user: string) =>
      (
        await fetch(`${app.clientUrl('chat')}&id=${id}`, {
          headers: { authorization: `Bearer ${await app.clientToken('chat', user)}` },
        })
      ).status
    expect(await get('unknown', 'u1')).toBe(404)
    expect(await get(connectionToken, 'u2')).toBe(403)
    expect(await get(connectionToken, 'u1')).toBe(200)
    const socket = new WebSocket(`${socketUrl()}&id=${connectionToken}`, {
      headers: { authorization: `Bearer ${await app.clientToken('chat', 'u1')}` },
    })
    const [error] = (await once(socket, 'error').catch((cause: unknown) => [cause])) as [Error]
    expect(error.message).toContain('409')
  })

  it('takes a WebSocket without negotiation, its token in the query', async () => {
    await start()
    const token = await app.clientToken('chat', 'u1')
    const socket = new WebSocket(`${socketUrl()}&access_token=${token}`)
    await once(socket, 'open')
    socket.send('{"protocol":"json","version":1}\u001e')
    const [reply] = (await once(socket, 'message')) as [Buffer]
    expect(reply.toString()).toBe('{}\u001e')
    socket.terminate()
  })

  it.skipIf(onAzure)('forgets a negotiation that nobody opens', async () => {
    await start({ limits: { disconnectTimeoutMs: 20, sweepIntervalMs: 5 } })
    const { connectionToken } = (await (await negotiate()).json()) as { connectionToken: string }
    const authorization = `Bearer ${await app.clientToken('chat', 'u1')}`
    const post = async () =>
      (
        await fetch(`${app.url}/client/?hub=chat&id=${connectionToken}`, { method: 'POST', headers: { authorization } })
      ).text()
    await expect.poll(post, waiting).toContain('No Connection with that ID')
  })
})

describe('handshake', () => {
  it.each([
    ['{"protocol":"bson","version":1}\u001e', "The protocol 'bson' is not supported."],
    ['{"protocol":"json","version":99}\u001e', "The server does not support version 99 of the 'json' protocol."],
    ['{"version":1}\u001e', 'Error parsing handshake request.'],
    ['hello\u001e', 'Error parsing handshake request.'],
    ['null\u001e', 'Error parsing handshake request.'],
  ])('refuses %j', async (request, error) => {
    await start()
    const { socket, received } = await openSocket()
    socket.send(request)
    await once(socket, 'close')
    expect(received).toEqual([`${JSON.stringify({ error })}\u001e`])
  })

  it('refuses MessagePack over an event stream', async () => {
    await start()
    const connection = app.build({
      hub: 'chat',
      transport: HttpTransportType.ServerSentEvents,
      protocol: 'messagepack',
    })
    await expect(connection.start()).rejects.toThrow(/ServerSentEvents.*does not support Binary/)
  })

  it('puts a handshake together that comes in pieces with what follows it', async () => {
    await start()
    const { socket, received } = await openSocket()
    socket.send('{"protocol":"json",')
    socket.send('"version":1}\u001e{"type":6}\u001e{"ty')
    socket.send('pe":6}\u001e')
    await expect.poll(() => received, waiting).toEqual(['{}\u001e'])
    await app.call('POST', '/api/hubs/chat/users/u1/:send', { body: event(1) })
    await expect.poll(() => received[1], waiting).toBe('{"type":1,"target":"event","arguments":[1]}\u001e')
    socket.terminate()
  })

  it.skipIf(onAzure)('gives up on a client that does not shake hands', async () => {
    await start({ limits: { handshakeTimeoutMs: 20, sweepIntervalMs: 5 } })
    const { socket, received } = await openSocket()
    await once(socket, 'close')
    expect(received).toEqual(['{"error":"Handshake was canceled."}\u001e'])
  })
})

describe.skipIf(onAzure)('while connected', () => {
  it('pings a client that hears nothing else', async () => {
    await start({ limits: { sweepIntervalMs: 5 } })
    const { socket, received } = await openSocket()
    socket.send('{"protocol":"json","version":1}\u001e')
    await expect.poll(() => received, waiting).toEqual(['{}\u001e'])
    clockOffsetMs = 15_000
    await expect.poll(() => received, waiting).toEqual(['{}\u001e', '{"type":6}\u001e'])
    socket.terminate()
  })

  it('closes a client that does not ping, and only that one', async () => {
    await start({ limits: { sweepIntervalMs: 5 } })
    const { socket, received } = await openSocket()
    socket.send('{"protocol":"json","version":1}\u001e')
    await expect.poll(() => received.length, waiting).toBe(1)
    clockOffsetMs = 29_000
    const alive = await app.connect({ hub: 'chat' })
    clockOffsetMs = 31_000
    await once(socket, 'close')
    expect(received.at(-1)).toContain('"type":7')
    expect(received.at(-1)).toContain('ClientTimeoutInterval')
    expect(alive.connection.state).toBe(HubConnectionState.Connected)
  })

  it('drops a polling client that stopped polling', async () => {
    await start({ limits: { sweepIntervalMs: 5 } })
    const { connectionToken } = (await (await negotiate()).json()) as { connectionToken: string }
    const authorization = `Bearer ${await app.sign(app.clientUrl('chat'), { nameid: 'u1' }, Date.now() + 1e6)}`
    const url = `${app.url}/client/?hub=chat&id=${connectionToken}`
    expect((await fetch(url, { headers: { authorization } })).status).toBe(200)
    await fetch(url, { method: 'POST', headers: { authorization }, body: '{"protocol":"json","version":1}\u001e' })
    expect((await state()).hubs['chat']?.connectionCount).toBe(1)
    clockOffsetMs = 16_000
    await expect.poll(async () => (await state()).hubs, waiting).toEqual({})
    expect((await fetch(url, { headers: { authorization } })).status).toBe(404)
  })

  it('answers a long poll empty after its timeout, and the client stays connected', async () => {
    await start({ limits: { pollTimeoutMs: 10 } })
    const client = await app.connect({ hub: 'chat', transport: HttpTransportType.LongPolling })
    for (let index = 0; index < 20; index++) {
      await app.call('POST', '/api/hubs/chat/:send', { body: event(index) })
    }
    await expect.poll(() => client.received.length, waiting).toBe(20)
    expect(client.connection.state).toBe(HubConnectionState.Connected)
  })

  it.each([
    ['malformed JSON', '{"type":\u001e'],
    ['a message without a type', '{}\u001e'],
    ['a record that never ends', 'x'.repeat(1024 * 1024 + 17)],
  ])('closes a client that sends %s', async (_, data) => {
    await start()
    const { socket, received } = await openSocket()
    socket.send('{"protocol":"json","version":1}\u001e')
    await expect.poll(() => received.length, waiting).toBe(1)
    socket.send(data)
    await once(socket, 'close')
    expect((await state()).hubs).toEqual({})
  })

  it('drops a client that does not read once too much waits for it, and serves the others', async () => {
    await start({ limits: { maxBufferedBytes: 512 * 1024 } })
    const { socket } = await openSocket()
    socket.send('{"protocol":"json","version":1}\u001e')
    await once(socket, 'message')
    socket.pause()
    const reader = await app.connect({ hub: 'chat' })
    let sent = 0
    const slowClients = async () => (await state()).clients.closedFor['slow client'] ?? 0
    while ((await slowClients()) === 0) {
      // The kernel's buffers take several MB before anything waits in the process.
      expect(sent).toBeLessThan(100)
      await app.call('POST', '/api/hubs/chat/:send', { body: event('x'.repeat(1_000_000)) })
      sent++
    }
    await expect.poll(() => reader.received.length, waiting).toBe(sent)
    expect((await state()).hubs['chat']?.connectionCount).toBe(1)
    socket.terminate()
  })

  it('tells a slow polling client why it was dropped', async () => {
    await start({ limits: { maxBufferedBytes: 1000 } })
    const { connectionToken } = (await (await negotiate()).json()) as { connectionToken: string }
    const authorization = `Bearer ${await app.clientToken('chat', 'u1')}`
    const url = `${app.url}/client/?hub=chat&id=${connectionToken}`
    await fetch(url, { headers: { authorization } })
    await fetch(url, { method: 'POST', headers: { authorization }, body: '{"protocol":"json","version":1}\u001e' })
    await app.call('POST', '/api/hubs/chat/:send', { body: event('x'.repeat(2000)) })
    expect(await (await fetch(url, { headers: { authorization } })).text()).toContain('reads too slowly')
    expect((await fetch(url, { headers: { authorization } })).status).toBe(204)
    expect((await fetch(url, { headers: { authorization } })).status).toBe(404)
  })

  it('reports what it knows of a connection', async () => {
    await start()
    await app.connect({ hub: 'chat', user: 'u1', transport: HttpTransportType.LongPolling, protocol: 'messagepack' })
    expect((await state()).hubs['chat']?.connections).toMatchObject([
      {
        user: 'u1',
        transport: 'LongPolling',
        protocol: 'messagepack',
        groups: [],
        userAgent: expect.stringContaining('SignalR'),
      },
    ])
  })
})

it('takes the user from the claim that Microsoft SDKs write', async () => {
  await start()
  const token = await app.sign(`${app.audience}/client/?hub=chat`, { 'asrs.s.uid': 'u7' })
  const socket = new WebSocket(`${socketUrl()}&access_token=${token}`)
  await once(socket, 'open')
  socket.send('{"protocol":"json","version":1}\u001e')
  await once(socket, 'message')
  expect((await app.call('HEAD', '/api/hubs/chat/users/u7')).status).toBe(200)
  socket.terminate()
})
