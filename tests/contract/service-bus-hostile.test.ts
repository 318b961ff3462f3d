import { startAmqpEmulator, type AmqpEmulator } from '@sluice/emulator-amqp'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { connectRaw, closeRaw, receiveRaw, sendRaw } from './raw-amqp-client.ts'
import { eventually } from './service-bus-namespace.ts'

const serviceBusConfig = { UserConfig: { Namespaces: [{ Name: 'ns', Queues: [{ Name: 'q' }, { Name: 'other' }] }] } }
const limits = { handshakeMs: 500, connections: 1200 }

let emulator: AmqpEmulator
const sockets: Socket[] = []
beforeAll(async () => void (emulator = await startAmqpEmulator({ serviceBusConfig, limits })))
afterEach(() => sockets.splice(0).forEach((socket) => socket.destroy()))
afterAll(() => emulator.close())

const open = async (): Promise<Socket> => {
  const socket = connect(emulator.port, '127.0.0.1')
  sockets.push(socket)
  socket.on('error', () => undefined)
  socket.resume()
  await once(socket, 'connect', { signal: AbortSignal.timeout(5000) })
  return socket
}
const closed = (socket: Socket) =>
  socket.destroyed ? Promise.resolve() : once(socket, 'close', { signal: AbortSignal.timeout(5000) })

/** An honest client's round trip. */
const serves = async (): Promise<void> => {
  const connection = await connectRaw(emulator.serviceBusConnectionString)
  const payload = Buffer.from('005375a003010203', 'hex')
  expect(await sendRaw(connection, 'q', payload)).toBe('accepted')
  expect((await receiveRaw(connection, 'q')).subarray(-payload.length)).toEqual(payload)
  await closeRaw(connection)
}

const amqp = Buffer.from('414d515000010000', 'hex')
const frame = (hexBody: string): Buffer => {
  const body = Buffer.from(hexBody.replaceAll(' ', ''), 'hex')
  const head = Buffer.from([0, 0, 0, 0, 2, 0, 0, 0])
  head.writeUInt32BE(body.length + 8)
  return Buffer.concat([head, body])
}
const openFrame = frame('005310 c0 04 01 a1 01 78')
const beginFrame = frame('005311 c0 0a 04 40 43 70 00000800 52ff')

test.each([
  ['bytes that are no protocol', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
  ['another AMQP version', Buffer.from('414d515000000901', 'hex')],
  ['a frame that announces 4 GiB', Buffer.concat([amqp, Buffer.from('ffffffff0200000000', 'hex')])],
  ['a frame larger than allowed', Buffer.concat([amqp, openFrame, Buffer.from('0002000002000000005310', 'hex')])],
  ['a frame of size 0', Buffer.concat([amqp, Buffer.from('000000000200000000000000', 'hex')])],
  ['a list that claims 4 billion items', Buffer.concat([amqp, frame('005310 d0 00000008 ffffffff 00000000')])],
  ['an array of 4 billion nulls', Buffer.concat([amqp, frame('005310 c0 0f 01 f0 00000009 fffffff0 40 00000000')])],
  ['values nested thousands deep', Buffer.concat([amqp, frame(`005310 ${'00'.repeat(30_000)}`)])],
  ['a transfer on a session that was never begun', Buffer.concat([amqp, openFrame, frame('005314 c0 03 01 43 40')])],
  [
    'a transfer on a link that was never attached',
    Buffer.concat([amqp, openFrame, beginFrame, frame('005314 c0 05 03 5207 43 40')]),
  ],
  ['two opens', Buffer.concat([amqp, openFrame, openFrame])],
])('%s: the connection is closed, and others are served', async (_, bytes) => {
  const socket = await open()
  socket.write(bytes)
  await closed(socket)
  await serves()
})

test('a disposition for 4 billion deliveries costs nothing', async () => {
  const socket = await open()
  const disposition = frame('005315 c0 0d 05 41 43 70 ffffffff 41 0053 24 45')
  socket.write(Buffer.concat([amqp, openFrame, beginFrame, ...Array.from({ length: 100 }, () => disposition)]))
  const before = performance.now()
  await serves()
  expect(performance.now() - before).toBeLessThan(2000)
})

test('a half-open connection is cut after the handshake’s time', async () => {
  const silent = await open()
  const half = await open()
  half.write(amqp.subarray(0, 5))
  await Promise.all([closed(silent), closed(half)])
  await serves()
})

test('a thousand idle connections do not keep others out; beyond the limit they are refused', async () => {
  const idle = await Promise.all(Array.from({ length: 1000 }, open))
  await serves()
  const surplus = await Promise.all(Array.from({ length: 400 }, open))
  await eventually(() => surplus.filter((socket) => socket.destroyed).length >= 150)
  for (const socket of [...idle, ...surplus]) socket.destroy()
  await eventually(() => serves().then(() => true))
})

test('transfers without credit and to unknown entities end the link, not the connection', async () => {
  const connection = await connectRaw(emulator.serviceBusConnectionString)
  const sender = connection.open_sender('missing')
  const [context] = (await once(sender, 'sender_error', { signal: AbortSignal.timeout(5000) })) as [
    { sender: { error: { condition: string } } },
  ]
  expect(context.sender.error.condition).toBe('amqp:not-found')
  expect(await sendRaw(connection, 'other', Buffer.from('005375a003010203', 'hex'))).toBe('accepted')
  const anonymous = connection.open_sender({ target: {} })
  await once(anonymous, 'sender_error', { signal: AbortSignal.timeout(5000) })
  await closeRaw(connection)
})

test('both SASL mechanisms of the service are offered', async () => {
  const socket = await open()
  socket.write(Buffer.from('414d515003010000', 'hex'))
  let received = ''
  socket.on('data', (bytes: Buffer) => (received += bytes.toString('latin1')))
  await eventually(() => received.includes('ANONYMOUS') && received.includes('MSSBCBS'))
})

test('a request whose reply-to names no link is answered on the node’s other link', async () => {
  const connection = await connectRaw(emulator.serviceBusConnectionString)
  const receiver = connection.open_receiver('q/$management')
  const sender = connection.open_sender('q/$management')
  const answered = once(receiver, 'message', { signal: AbortSignal.timeout(5000) }) as Promise<
    [{ message: { correlation_id: string; application_properties: Record<string, unknown> } }]
  >
  await once(sender, 'sendable', { signal: AbortSignal.timeout(5000) })
  sender.send({
    message_id: 'request-1',
    reply_to: 'q/$management',
    application_properties: { operation: 'com.microsoft:unheard-of' },
    body: {},
  })
  const [{ message }] = await answered
  expect(message.correlation_id).toBe('request-1')
  expect(message.application_properties).toMatchObject({ statusCode: 501, 'error-condition': 'amqp:not-implemented' })
  await closeRaw(connection)
})
