import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { systemClock } from '@sluice/resilience'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { relay } from '../../services/ingest/src/realtime/relay.ts'

// A client and a provider with a relay between them, all four ends of the two connections in reach.
let servers: WebSocketServer[]
let provider: WebSocket
let toProvider: WebSocket
let client: WebSocket
let toClient: WebSocket
let ended: string[]
let seen: string[]

async function pair(): Promise<[ours: WebSocket, theirs: WebSocket]> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  servers.push(server)
  await once(server, 'listening')
  const theirs = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const [ours] = (await once(server, 'connection')) as [WebSocket]
  if (theirs.readyState !== WebSocket.OPEN) await once(theirs, 'open')
  return [ours, theirs]
}

beforeEach(async () => {
  servers = []
  const ends: string[] = []
  ended = ends
  seen = []
  ;[toClient, client] = await pair()
  ;[provider, toProvider] = await pair()
  relay({
    client: toClient,
    upstream: toProvider,
    held: [{ data: Buffer.from('held'), isBinary: false }],
    idleMs: 60_000,
    onUpstreamEvent: ({ data }) => seen.push(data.subarray(0, 8).toString('utf8')),
    onEnd: (why) => ends.push(why),
    clock: systemClock,
  })
})
afterEach(async () => {
  for (const socket of [provider, toProvider, client, toClient]) socket.terminate()
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
})

async function until(done: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!done()) {
    if (Date.now() > deadline) throw new Error(`not yet: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

test('what was held comes first, then everything in order, text and binary', async () => {
  const received: string[] = []
  provider.on('message', (data: Buffer, isBinary) => received.push(`${isBinary ? 'b' : 't'}:${data.toString('utf8')}`))
  client.send('one')
  client.send(Buffer.from('two'), { binary: true })
  await until(() => received.length === 3, 'three frames')
  expect(received).toEqual(['t:held', 't:one', 'b:two'])
})

test('a client that does not read stops the provider, and costs the relay a bounded amount', async () => {
  client.pause()
  const frame = Buffer.alloc(256 * 1024, 1)
  const frames = 256
  for (let at = 0; at < frames; at++) provider.send(frame)
  await until(() => toProvider.isPaused, 'a paused provider')
  let most = 0
  // The provider's own buffer keeps what the relay does not read: it stops shrinking while the client stands still.
  let last = -1
  await until(() => {
    most = Math.max(most, toClient.bufferedAmount)
    const still = provider.bufferedAmount === last && provider.bufferedAmount > 0
    last = provider.bufferedAmount
    return still
  }, 'a provider that waits')
  expect(most).toBeLessThan(16 * frame.byteLength)
  expect(provider.bufferedAmount).toBeGreaterThan((frames / 2) * frame.byteLength)
  let received = 0
  client.on('message', () => received++)
  client.resume()
  await until(() => received === frames, 'every frame')
  expect(seen).toHaveLength(frames)
})

test('the end of one side is the end of the other, with its code', async () => {
  const closed = once(client, 'close') as Promise<[number, Buffer]>
  provider.close(4001, 'quota')
  const [code, reason] = await closed
  expect([code, reason.toString()]).toEqual([4001, 'quota'])
  expect(ended).toEqual(['upstream'])
})

test('a side that is cut off ends the other with a code that may be sent', async () => {
  const closed = once(provider, 'close') as Promise<[number]>
  client.terminate()
  expect((await closed)[0]).toBe(1011)
  await until(() => ended.length === 1, 'an end')
  expect(ended).toEqual(['client'])
})
