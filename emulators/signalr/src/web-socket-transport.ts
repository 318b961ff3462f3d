import type { WebSocket } from 'ws'

import type { Transport } from './transport.ts'

/** How long a client may take to answer the WebSocket's closing handshake. */
const closeTimeoutMs = 5_000

export function createWebSocketTransport(socket: WebSocket): Transport {
  let closeTimer: NodeJS.Timeout | undefined
  socket.once('close', () => clearTimeout(closeTimer))

  return {
    kind: 'WebSockets',
    supportsBinary: true,
    bufferedBytes: () => socket.bufferedAmount,
    send(bytes, isBinary) {
      if (socket.readyState === socket.OPEN) socket.send(bytes, { binary: isBinary })
    },
    end() {
      socket.close(1000)
      closeTimer = setTimeout(() => socket.terminate(), closeTimeoutMs)
      closeTimer.unref()
    },
    destroy: () => socket.terminate(),
  }
}
