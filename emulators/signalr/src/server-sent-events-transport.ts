import type { ServerResponse } from 'node:http'

import type { Transport } from './transport.ts'

/** Holds the response of the client's GET open and writes one event a message; the client's own messages come as POSTs. */
export function createServerSentEventsTransport(response: ServerResponse): Transport {
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache, no-store',
    'x-accel-buffering': 'no',
  })
  // A comment, so that the headers and with them the client's `onopen` are not held back until the first message.
  response.write(':\r\n\r\n')

  return {
    kind: 'ServerSentEvents',
    supportsBinary: false,
    bufferedBytes: () => response.writableLength,
    send(bytes) {
      // JSON has no raw line breaks, so a message is always one data line.
      if (response.writable) response.write(`data: ${bytes.toString()}\r\n\r\n`)
    },
    end: () => void response.end(),
    destroy: () => void response.destroy(),
  }
}
