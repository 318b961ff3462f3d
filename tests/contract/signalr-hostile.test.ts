import { once } from 'node:events'
import { connect } from 'node:net'

import { startSignalREmulator } from '@sluice/emulator-signalr'
import type { SignalREmulator } from '@sluice/emulator-signalr'
import { afterEach, beforeEach, expect, it } from 'vitest'

import { event, startSignalRApp } from './signalr-app.ts'
import type { SignalRApp } from './signalr-app.ts'

const waiting = { timeout: 10_000, interval: 10 }

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

const hubs = async () => ((await (await fetch(`${app.url}/_control/state`)).json()) as { hubs: unknown }).hubs

it('survives garbage, half a request, unknown upgrades and many idle sockets', async () => {
  const raw = (text: string) => {
    const socket = connect(emulator.port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.write(text)
    return socket
  }
  const garbage = raw('\u0000\u0001\u0002 not http\r\n\r\n')
  const upgrade = raw('GET /elsewhere HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
  const [answer] = (await once(upgrade, 'data')) as [Buffer]
  expect(answer.toString()).toContain('HTTP/1.1 404')
  await once(garbage.resume(), 'close')
  const idle = Array.from({ length: 200 }, () => raw('GET /client'))
  const client = await app.connect({ hub: 'chat' })
  await app.call('POST', '/api/hubs/chat/:send', { body: event('still here') })
  await expect.poll(() => client.received, waiting).toEqual([['still here']])
  for (const socket of [...idle, upgrade]) socket.destroy()
})

it('survives random frames of both protocols, from a fixed seed', async () => {
  let seed = 20_260_601
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
    return Math.floor((seed / 2 ** 31) * below)
  }
  for (let round = 0; round < 60; round++) {
    const { socket } = await app.openSocket()
    const protocol = round % 2 === 0 ? 'json' : 'messagepack'
    if (round % 5 !== 0) socket.send(JSON.stringify({ protocol, version: 1 }) + '\u001e')
    for (let frame = 0; frame < 10; frame++) {
      socket.send(
        Buffer.from(Array.from({ length: random(40) }, () => [0x1e, 0x93, 0xdf, random(256)][random(4)] as number)),
      )
    }
    // The ping of the WebSocket layer is answered after the frames before it were read.
    socket.ping()
    await Promise.race([once(socket, 'pong'), once(socket, 'close')])
    socket.terminate()
  }
  await expect.poll(hubs, waiting).toEqual({})
  const client = await app.connect({ hub: 'chat' })
  await app.call('POST', '/api/hubs/chat/:send', { body: event('still here') })
  await expect.poll(() => client.received, waiting).toEqual([['still here']])
})

it('closes in time although sockets hang', async () => {
  const hang = (text: string) => {
    const socket = connect({ port: emulator.port, host: '127.0.0.1', allowHalfOpen: true })
    socket.on('error', () => undefined)
    socket.write(text)
    return socket
  }
  const upgrade = hang('GET /client/?hub=chat HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
  await once(upgrade, 'data')
  const idle = hang('GET /client')
  const { socket } = await app.openSocket()
  socket.pause()
  const before = performance.now()
  await emulator.close()
  expect(performance.now() - before).toBeLessThan(5_000)
  socket.terminate()
  upgrade.destroy()
  idle.destroy()
})
