import { once } from 'node:events'
import { createRequire } from 'node:module'
import type { Connection, ConnectionOptions, Container, Receiver, Sender, Session } from 'rhea'

// rhea belongs to the emulator's package and to the SDKs; tests use it to speak AMQP below the SDKs.
const require = createRequire(import.meta.url)
const rhea = require('rhea') as Container

const deadline = () => ({ signal: AbortSignal.timeout(10_000) })

const amqpsPort = 5671

/** A plain connection to an emulator, or one over TLS with the key as SASL PLAIN, which the service takes in place of tokens. */
const optionsOf = (connectionString: string): ConnectionOptions => {
  const field = (name: string) => new RegExp(`(?:^|;)${name}=([^;]+)`, 'i').exec(connectionString)?.[1] ?? ''
  const { hostname, port } = new URL(field('Endpoint').replace(/^sb:/i, 'http:'))
  if (field('UseDevelopmentEmulator') === 'true') return { host: hostname, port: Number(port), reconnect: false }
  return {
    transport: 'tls',
    host: hostname,
    servername: hostname,
    port: amqpsPort,
    username: field('SharedAccessKeyName'),
    password: field('SharedAccessKey'),
    reconnect: false,
  }
}

export const connectRaw = async (connectionString: string): Promise<Connection> => {
  const connection = rhea.create_container().connect(optionsOf(connectionString))
  connection.on('disconnected', () => undefined)
  connection.on('connection_error', () => undefined)
  await once(connection, 'connection_open', deadline())
  return connection
}

/** Sends encoded bytes as they are. @returns the name of the outcome */
export const sendRaw = async (
  connection: Connection,
  address: string,
  payload: Buffer,
  format = 0,
): Promise<string> => {
  const sender: Sender = connection.open_sender(address)
  await once(sender, 'sendable', deadline())
  sender.send(payload, undefined, format)
  const outcome = await Promise.race(
    ['accepted', 'rejected', 'released'].map((event) => once(sender, event, deadline()).then(() => event)),
  )
  sender.close()
  return outcome
}

/** Receives one message as the bytes of its transfer. */
export const receiveRaw = async (connection: Connection, address: string): Promise<Buffer> => {
  const receiver: Receiver = connection.open_receiver({
    source: { address },
    credit_window: 0,
    autoaccept: false,
    snd_settle_mode: 1,
    rcv_settle_mode: 0,
  })
  await once(receiver, 'receiver_open', deadline())
  const payloads: Buffer[] = []
  const session = receiver.session as Session & { on_transfer(frame: { payload: Buffer }): void }
  const transfer = session.on_transfer.bind(session)
  session.on_transfer = (frame) => {
    payloads.push(Buffer.from(frame.payload))
    transfer(frame)
  }
  receiver.add_credit(1)
  await once(receiver, 'message', deadline())
  receiver.close()
  return Buffer.concat(payloads)
}

export const closeRaw = async (connection: Connection): Promise<void> => {
  connection.close()
  await once(connection, 'connection_close', deadline())
}
