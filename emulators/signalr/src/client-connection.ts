import { MessageType, NullLogger } from '@microsoft/signalr'

import type { HubFrame, ProtocolName } from './hub-message.ts'
import { closeFrame, pingFrame, protocols } from './hub-message.ts'
import type { Limits } from './limits.ts'
import { maxMessageBytes } from './limits.ts'
import { createRecordReader } from './record-reader.ts'
import type { Transport } from './transport.ts'

export type ClientIdentity = {
  connectionId: string
  hub: string
  user: string | undefined
  userAgent: string | undefined
}

type Events = {
  /** The handshake is complete: from now on the connection receives messages. */
  onOpen: (connection: ClientConnection) => void
  /** Called exactly once, however the connection ended. */
  onClosed: (connection: ClientConnection, reason: string) => void
}

export type ClientConnection = ReturnType<typeof createClientConnection>

/**
 * The hub protocol's server side for one client of a serverless hub: handshake, pings, messages out, close.
 * States: handshaking → open → closed; a connection that fails its handshake goes straight to closed.
 */
export function createClientConnection(
  identity: ClientIdentity,
  transport: Transport,
  limits: Limits,
  now: () => number,
  { onOpen, onClosed }: Events,
) {
  const reader = createRecordReader(maxMessageBytes)
  const openedAt = now()
  let state: 'handshaking' | 'open' | 'closed' = 'handshaking'
  let protocol: ProtocolName = 'json'
  let lastReceived = openedAt
  let lastSent = openedAt
  let sentMessages = 0

  const write = (bytes: Buffer): void => {
    lastSent = now()
    transport.send(bytes, protocol === 'messagepack')
    if (transport.bufferedBytes() <= limits.maxBufferedBytes) return
    // Nothing more can reach a client that does not read, a Close message included; only a later poll could still fetch one.
    if (transport.kind === 'LongPolling') return finish('slow client', closeFrame('The client reads too slowly.', true))
    transport.destroy()
    connection.transportClosed('slow client: more than maxBufferedBytes waited for it')
  }

  const finish = (reason: string, last?: HubFrame): void => {
    if (state === 'closed') return
    state = 'closed'
    if (last) transport.send(last[protocol], protocol === 'messagepack')
    transport.end()
    onClosed(connection, reason)
  }

  const handshake = (record: Buffer): void => {
    const error = acceptHandshake(record)
    // The handshake is JSON whatever protocol it agrees on.
    transport.send(
      Buffer.from(`${JSON.stringify(error === undefined ? {} : { error })}\u001e`),
      transport.supportsBinary && protocol === 'messagepack',
    )
    lastSent = now()
    if (error !== undefined) return finish(`handshake: ${error}`)
    state = 'open'
    onOpen(connection)
  }

  const acceptHandshake = (record: Buffer): string | undefined => {
    const request = parseHandshake(record)
    if (!request) return 'Error parsing handshake request.'
    if (request.protocol !== 'json' && request.protocol !== 'messagepack') {
      return `The protocol '${request.protocol}' is not supported.`
    }
    if (request.version < 1 || request.version > protocols[request.protocol].version) {
      return `The server does not support version ${request.version} of the '${request.protocol}' protocol.`
    }
    if (request.protocol === 'messagepack' && !transport.supportsBinary) {
      return `Cannot use the 'messagepack' protocol on the current transport. The transport does not support 'Binary' transfer format.`
    }
    protocol = request.protocol
    return undefined
  }

  const receiveMessage = (record: Buffer): void => {
    const input = protocol === 'json' ? record.toString() : toArrayBuffer(record)
    const messages = protocols[protocol].parseMessages(input, NullLogger.instance)
    // The package parses what a server sends and skips the rest: StreamInvocation and CancelInvocation come out as nothing.
    const type = messages[0]?.type ?? MessageType.StreamInvocation
    if (type === MessageType.Close) return finish('closed by the client')
    if (type === MessageType.Ping || type === MessageType.Ack || type === MessageType.Sequence) return
    // "SignalR Service will disconnect any client that sends messages because it's an invalid operation" without an upstream.
    // https://learn.microsoft.com/azure/azure-signalr/signalr-reference-data-plane-rest-api#serverless
    finish(
      'message from a client',
      closeFrame('Clients of a serverless hub cannot send messages: no upstream is configured.', false),
    )
  }

  const connection = {
    ...identity,
    transport: transport.kind,
    openedAt,
    /** Group names to the time (ms) at which the membership ends. Kept by the hub. */
    groups: new Map<string, number>(),
    get protocol() {
      return protocol
    },
    get sentMessages() {
      return sentMessages
    },
    get bufferedBytes() {
      return transport.bufferedBytes()
    },

    receive(bytes: Buffer): void {
      if (state === 'closed') return
      lastReceived = now()
      try {
        reader.push(bytes)
        for (;;) {
          const record = reader.next(protocol)
          if (record === undefined) return
          if (state === 'handshaking') handshake(record)
          else receiveMessage(record)
          // finish() inside changed the state: what follows a Close is not read.
          if ((state as string) === 'closed') return
        }
      } catch (error) {
        connection.close(
          `Connection closed with an error. ${error instanceof Error ? error.message : ''}`.trim(),
          false,
        )
      }
    },

    send(message: HubFrame): void {
      if (state !== 'open') return
      sentMessages++
      write(message[protocol])
    },

    /** Ends the connection with a Close message. */
    close(error: string | undefined, allowReconnect: boolean): void {
      finish(error ?? 'closed by the service', state === 'open' ? closeFrame(error, allowReconnect) : undefined)
    },

    /** Ends the connection as a network failure would. */
    drop(reason: string): void {
      transport.destroy()
      connection.transportClosed(reason)
    },

    /** The transport ended by itself. */
    transportClosed(reason: string): void {
      if (state === 'closed') return
      state = 'closed'
      onClosed(connection, reason)
    },

    /** Checks every deadline of the connection; called from time to time. */
    sweep(): void {
      const time = now()
      const lastSeen = transport.lastSeen?.()
      if (state === 'handshaking' && time - openedAt > limits.handshakeTimeoutMs) {
        transport.send(Buffer.from('{"error":"Handshake was canceled."}\u001e'), false)
        return finish('handshake timeout')
      }
      if (lastSeen !== undefined) {
        if (time - lastSeen > limits.disconnectTimeoutMs) connection.drop('the client stopped polling')
        return
      }
      if (state !== 'open') return
      if (time - lastReceived > limits.clientTimeoutMs) {
        return connection.close("Client hasn't sent a message/ping within the configured ClientTimeoutInterval.", true)
      }
      if (time - lastSent >= limits.keepAliveIntervalMs) write(pingFrame[protocol])
    },
  }
  return connection
}

function parseHandshake(record: Buffer): { protocol: string; version: number } | undefined {
  try {
    const request: unknown = JSON.parse(record.toString('utf8', 0, record.length - 1))
    if (typeof request !== 'object' || request === null || !('protocol' in request) || !('version' in request))
      return undefined
    const { protocol, version } = request
    return typeof protocol === 'string' && Number.isInteger(version)
      ? { protocol, version: version as number }
      : undefined
  } catch {
    return undefined
  }
}

const toArrayBuffer = (bytes: Buffer): ArrayBuffer => new Uint8Array(bytes).buffer
