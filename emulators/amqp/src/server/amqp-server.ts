import { createServer, type Server, type Socket } from 'node:net'
import rhea from 'rhea'
import { FrameOutput } from './frame-output.ts'
import type { LinkRouter } from './link-router.ts'
import { Peer } from './peer.ts'
import {
  guardReader,
  type RheaConnection,
  type RheaReceiver,
  type RheaSender,
  type RheaSession,
} from './rhea-internals.ts'
import { guardSession } from './session-guard.ts'

export type ServerLimits = {
  connections: number
  frameBytes: number
  sessionsPerConnection: number
  handshakeMs: number
  idleMs: number
}

export const defaultServerLimits: ServerLimits = {
  connections: 5000,
  frameBytes: 65_536,
  sessionsPerConnection: 5000,
  handshakeMs: 30_000,
  idleMs: 120_000,
}

const outgoingBuffer = 8192
const incomingBuffer = 2048

/** The AMQP 1.0 listener: connections in, links handed to the router. */
export class AmqpServer {
  readonly peers = new Set<Peer>()
  readonly #router: LinkRouter
  readonly #limits: ServerLimits
  readonly #container = rhea.create_container({ id: 'sluice-emulator-amqp' })
  readonly #sockets = new Map<Socket, Peer>()
  readonly #server: Server

  constructor(router: LinkRouter, limits: ServerLimits) {
    this.#router = router
    this.#limits = limits
    guardReader()
    const mechanisms = this.#container.sasl_server_mechanisms as Record<string, unknown> & { enable_anonymous(): void }
    mechanisms.enable_anonymous()
    // The claims-based mechanism carries no credentials either: the token follows on $cbs.
    mechanisms['MSSBCBS'] = () => ({ outcome: undefined, username: undefined, start: startClaimsBased })
    this.#container.on('error', ignore)
    this.#container.on('protocol_error', ignore)
    this.#container.on('disconnected', ignore)
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket))
    this.#server.maxConnections = limits.connections
  }

  /** @returns the port it listens on */
  listen(port: number, host: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, host, () => {
        const address = this.#server.address()
        resolve(typeof address === 'object' && address !== null ? address.port : port)
      })
    })
  }

  /** Cuts every connection without a word, as a network failure would. @returns how many there were */
  dropConnections(): number {
    const count = this.#sockets.size
    for (const socket of this.#sockets.keys()) socket.destroy()
    return count
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
      this.dropConnections()
    })
  }

  #accept(socket: Socket): void {
    const connection = this.#container.create_connection({
      max_frame_size: this.#limits.frameBytes,
      channel_max: this.#limits.sessionsPerConnection - 1,
      idle_time_out: this.#limits.idleMs,
      session_buffer_size: { incoming: incomingBuffer, outgoing: outgoingBuffer },
      receiver_options: { credit_window: 0, autoaccept: false },
      sender_options: { autosettle: false },
      reconnect: false,
    } as never) as RheaConnection
    const peer = new Peer(connection)
    this.#peerConnected(socket, peer)
    boundInput(connection, socket, this.#limits)
    connection.frameOutput = new FrameOutput(connection, socket)
    connection.on('session_open', (context) => guardSession(context.session as unknown as RheaSession))
    connection.on('receiver_open', (context) =>
      this.#router.attachReceiver(peer, context.receiver as unknown as RheaReceiver),
    )
    connection.on('sender_open', (context) => this.#router.attachSender(peer, context.sender as unknown as RheaSender))
    connection.on('session_close', (context) => peer.sessionClosed(context.session as unknown as RheaSession))
    for (const handled of ['connection_error', 'session_error', 'sender_error', 'receiver_error'])
      connection.on(handled, ignore)
    connection.accept(socket)
  }

  #peerConnected(socket: Socket, peer: Peer): void {
    this.peers.add(peer)
    this.#sockets.set(socket, peer)
    const handshake = setTimeout(() => socket.destroy(), this.#limits.handshakeMs)
    peer.connection.once('connection_open', () => clearTimeout(handshake))
    socket.once('close', () => {
      clearTimeout(handshake)
      this.#sockets.delete(socket)
      this.peers.delete(peer)
      peer.closed()
      // rhea learns of an end or an error, not of a destroyed socket, and would keep its timers.
      peer.connection._disconnected()
    })
  }
}

const ignore = (): void => undefined

function startClaimsBased(this: { outcome: boolean | undefined; username: string | undefined }): void {
  this.outcome = true
  this.username = 'claims-based'
}

const closingGraceMs = 1000

// rhea reads frames of any announced size and ends, but never destroys, a socket whose bytes it cannot read.
const boundInput = (connection: RheaConnection, socket: Socket, limits: ServerLimits): void => {
  let isAborted = false
  const abort = (condition: string, description: string): void => {
    if (isAborted) return
    // Saying goodbye can fail in turn, when what cannot be written is still waiting to be written.
    isAborted = true
    socket.removeAllListeners('data')
    socket.resume()
    connection.close({ condition, description })
    connection._process()
    connection.frameOutput?.flush()
    socket.end()
    setTimeout(() => socket.destroy(), closingGraceMs).unref()
  }
  const input = connection.input.bind(connection)
  connection.input = (bytes) => {
    if (isAborted) return
    input(bytes)
    if ((connection.frame_size ?? 0) > limits.frameBytes)
      abort('amqp:connection:framing-error', 'A frame exceeds the maximum frame size.')
    else if (Object.keys(connection.local_channel_map).length > limits.sessionsPerConnection)
      abort('amqp:resource-limit-exceeded', 'Too many sessions.')
  }
  for (const failure of ['error', 'protocol_error']) {
    connection.on(failure, (error: unknown) =>
      abort('amqp:connection:framing-error', error instanceof Error ? error.message : 'malformed data'),
    )
  }
}
