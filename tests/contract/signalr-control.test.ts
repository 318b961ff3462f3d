import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

import { HttpTransportType } from '@microsoft/signalr'
import { startSignalREmulator } from '@sluice/emulator-signalr'
import type { SignalREmulator } from '@sluice/emulator-signalr'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { event, startSignalRApp } from './signalr-app.ts'
import type { SignalRApp } from './signalr-app.ts'

const waiting = { timeout: 10_000, interval: 10 }

describe('faults on purpose', () => {
  let emulator: SignalREmulator
  let app: SignalRApp

  beforeEach(async () => {
    emulator = await startSignalREmulator()
    app = await startSignalRApp(emulator.connectionString)
  })
  afterEach(async () => {
    await app.close()
    await emulator.close()
  })

  const control = (method: string, path: string, body?: unknown): Promise<Response> =>
    fetch(`${app.url}/_control${path}`, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
  const send = (hub = 'chat') => app.call('POST', `/api/hubs/${hub}/:send`, { body: event() })

  it('throttles the REST API as often as asked, with Retry-After', async () => {
    await control('POST', '/faults', { type: 'throttle', at: 'rest', times: 2, retryAfterSeconds: 7 })
    const first = await send()
    expect(first.status).toBe(429)
    expect(first.headers.get('retry-after')).toBe('7')
    expect((await send()).status).toBe(429)
    expect((await send()).status).toBe(202)
  })

  it('answers 503 for one hub until it is cleared', async () => {
    await control('POST', '/faults', [{ type: 'throttle', at: 'rest', status: 503, hub: 'Chat' }])
    expect((await send()).status).toBe(503)
    expect((await send('other')).status).toBe(202)
    expect((await control('DELETE', '/faults')).status).toBe(204)
    expect((await send()).status).toBe(202)
  })

  it('cuts the connection of a refused call', async () => {
    await control('POST', '/faults', { type: 'refuse', at: 'rest', times: 1 })
    await expect(send()).rejects.toThrow()
    expect((await send()).status).toBe(202)
  })

  it('delays an answer, and the fault after the delay still strikes', async () => {
    await control('POST', '/faults', [
      { type: 'delay', at: 'rest', delayMs: 100, times: 1 },
      { type: 'throttle', at: 'rest', times: 1 },
    ])
    const before = performance.now()
    expect((await send()).status).toBe(429)
    expect(performance.now() - before).toBeGreaterThan(90)
  })

  it.each(['negotiate', 'connect'])('refuses and throttles clients at %s', async (at) => {
    await control('POST', '/faults', { type: 'throttle', at, status: 503, times: 1 })
    await expect(app.build({ hub: 'chat' }).start()).rejects.toThrow()
    await control('POST', '/faults', { type: 'refuse', at, times: 1 })
    await expect(app.build({ hub: 'chat' }).start()).rejects.toThrow()
    await app.connect({ hub: 'chat' })
  })

  it.each([HttpTransportType.WebSockets, HttpTransportType.ServerSentEvents, HttpTransportType.LongPolling])(
    'drops a live connection, and automatic reconnect brings it back (transport %i)',
    async (transport) => {
      const client = await app.connect({ hub: 'chat', user: 'u1', transport, reconnect: true })
      const bystander = await app.connect({ hub: 'chat', user: 'u2' })
      const reconnected = new Promise<string | undefined>((resolve) => {
        client.connection.onreconnected(resolve)
      })
      const dropped = await control('POST', '/faults', { type: 'drop', hub: 'chat', user: 'u1' })
      expect(await dropped.json()).toMatchObject({ dropped: 1 })
      expect(await reconnected).not.toBe(client.connectionId)
      await app.call('POST', '/api/hubs/chat/:send', { body: event('again') })
      await expect.poll(() => client.received, waiting).toEqual([['again']])
      await expect.poll(() => bystander.received, waiting).toEqual([['again']])
    },
  )

  it('reconnects a client that the service closed, and forgets its groups', async () => {
    const client = await app.connect({ hub: 'chat', reconnect: true })
    await app.call('PUT', `/api/hubs/chat/groups/g/connections/${client.connectionId}`)
    const reconnected = new Promise<string | undefined>((resolve) => {
      client.connection.onreconnected(resolve)
    })
    await app.call('POST', '/api/hubs/chat/:closeConnections')
    await reconnected
    expect((await app.call('HEAD', '/api/hubs/chat/groups/g')).status).toBe(404)
  })

  it('resets: connections closed, groups and faults gone', async () => {
    const client = await app.connect({ hub: 'chat', user: 'u1' })
    await app.call('PUT', '/api/hubs/chat/users/u1/groups/g')
    await control('POST', '/faults', { type: 'refuse', at: 'connect' })
    expect((await control('POST', '/reset')).status).toBe(204)
    await client.closed
    expect(await (await control('GET', '/state')).json()).toMatchObject({ hubs: {}, faults: [] })
  })

  it.each([
    ['{'],
    ['null'],
    ['[1]'],
    ['{"type":"explode","at":"rest"}'],
    ['{"type":"delay","at":"rest"}'],
    ['{"type":"delay","at":"rest","delayMs":1e9}'],
    ['{"type":"refuse","at":"nowhere"}'],
    ['{"type":"refuse","at":"rest","times":0}'],
    ['{"type":"throttle","at":"rest","status":200}'],
    ['{"type":"drop","user":5}'],
  ])('refuses the fault %s', async (body) => {
    const response = await fetch(`${app.url}/_control/faults`, { method: 'POST', body })
    expect(response.status).toBe(400)
    expect(await (await control('GET', '/state')).json()).toMatchObject({ faults: [] })
  })
})

it('runs twice in one process, and tells its clients when it closes', async () => {
  const [one, two] = await Promise.all([startSignalREmulator(), startSignalREmulator()])
  const [first, second] = await Promise.all([
    startSignalRApp(one.connectionString),
    startSignalRApp(two.connectionString),
  ])
  const client = await first.connect({ hub: 'chat' })
  const other = await second.connect({ hub: 'chat' })
  await one.close()
  expect((await client.closed)?.message).toContain('The service is shutting down.')
  await second.call('POST', '/api/hubs/chat/:send', { body: event('two') })
  await expect.poll(() => other.received, waiting).toEqual([['two']])
  await Promise.all([first.close(), second.close()])
  await two.close()
})

describe('the process', () => {
  const main = new URL('../../emulators/signalr/src/main.ts', import.meta.url).pathname

  const start = (args: string[], env: Record<string, string> = {}) =>
    spawn(process.execPath, [main, ...args], { env: { ...process.env, ...env }, stdio: 'pipe' })

  async function readyLine(child: ReturnType<typeof start>): Promise<Record<string, unknown>> {
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
    return JSON.parse(line) as Record<string, unknown>
  }

  it('prints one JSON line, serves, and exits 0 on SIGTERM', async () => {
    const child = start(['--access-key', 'a-key-of-my-own-0123456789-0123456789'])
    const ready = await readyLine(child)
    expect(ready).toMatchObject({ ready: true, control: expect.stringContaining('/_control') })
    const connectionString = String(ready['SIGNALR_CONNECTION_STRING'])
    expect(connectionString).toBe(
      `Endpoint=http://127.0.0.1;Port=${String(ready['port'])};AccessKey=a-key-of-my-own-0123456789-0123456789;Version=1.0;`,
    )
    const app = await startSignalRApp(connectionString)
    const client = await app.connect({ hub: 'chat' })
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([0, null])
    await client.closed
    await app.close()
  })

  it('exits when its parent closes stdin', async () => {
    const child = start([], { EXIT_WITH_PARENT: '1' })
    await readyLine(child)
    child.stdin.end()
    expect(await once(child, 'exit')).toEqual([0, null])
  })

  it('refuses a port that is none', async () => {
    const child = start(['--port', '70000'])
    const [complaint] = (await once(child.stderr, 'data')) as [Buffer]
    expect(complaint.toString()).toBe('--port 70000 is not a port\n')
    expect(await once(child, 'exit')).toEqual([1, null])
  })
})
