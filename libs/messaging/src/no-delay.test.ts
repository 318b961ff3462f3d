import { once } from 'node:events'
import { connect, createServer, Socket } from 'node:net'
import { expect, test, vi } from 'vitest'
import { sendWithoutDelay } from './no-delay.ts'

test('a socket that is opened afterwards sends without delay, set once however often it was asked for', async () => {
  const set = vi.spyOn(Socket.prototype, 'setNoDelay')
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  try {
    sendWithoutDelay()
    sendWithoutDelay()
    const socket = connect(address.port, '127.0.0.1')
    await once(socket, 'connect')
    expect(set).toHaveBeenCalledExactlyOnceWith(true)
    socket.destroy()
  } finally {
    set.mockRestore()
    server.close()
  }
})
