import { JsonHubProtocol, MessageType } from '@microsoft/signalr'
import type { HubMessage, IHubProtocol } from '@microsoft/signalr'
import { MessagePackHubProtocol } from '@microsoft/signalr-protocol-msgpack'

export type ProtocolName = 'json' | 'messagepack'

/** The protocol packages parse and write symmetrically enough to serve on this side; what they lack is written here by hand. */
export const protocols: Readonly<Record<ProtocolName, IHubProtocol>> = {
  json: new JsonHubProtocol(),
  messagepack: new MessagePackHubProtocol(),
}

/** One message for many connections: encoded at most once a protocol. */
export type HubFrame = { readonly [name in ProtocolName]: Buffer }

function frame(encode: (name: ProtocolName) => Buffer): HubFrame {
  let json: Buffer | undefined
  let messagepack: Buffer | undefined
  return {
    get json() {
      return (json ??= encode('json'))
    },
    get messagepack() {
      return (messagepack ??= encode('messagepack'))
    },
  }
}

const write = (name: ProtocolName, message: HubMessage): Buffer => {
  const written = protocols[name].writeMessage(message)
  return typeof written === 'string' ? Buffer.from(written) : Buffer.from(written)
}

export const invocationFrame = (target: string, args: unknown[]): HubFrame =>
  frame((name) => {
    const invocation = { type: MessageType.Invocation, target, arguments: args } as const
    // .NET and Java clients read a sixth element, the ids of streams, from a MessagePack invocation; JSON leaves them out.
    return write(name, name === 'json' ? invocation : { ...invocation, streamIds: [] })
  })

export const pingFrame: HubFrame = frame((name) => write(name, { type: MessageType.Ping }))

/**
 * A Close message. `allowReconnect` lets a client with automatic reconnect come back.
 * The MessagePack form is written by hand because the package's writer drops both fields.
 */
export const closeFrame = (error: string | undefined, allowReconnect: boolean): HubFrame =>
  frame((name) => {
    if (name === 'json') {
      return write('json', { type: MessageType.Close, ...(error === undefined ? {} : { error }), allowReconnect })
    }
    const text = error === undefined ? Buffer.of(0xc0) : messagePackString(error.slice(0, 4096))
    return withLengthPrefix(
      Buffer.concat([Buffer.of(0x93, MessageType.Close), text, Buffer.of(allowReconnect ? 0xc3 : 0xc2)]),
    )
  })

function messagePackString(text: string): Buffer {
  const bytes = Buffer.from(text)
  const header = Buffer.of(0xda, bytes.length >> 8, bytes.length & 0xff)
  return Buffer.concat([header, bytes])
}

function withLengthPrefix(payload: Buffer): Buffer {
  const prefix: number[] = []
  let rest = payload.length
  do {
    prefix.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
    rest >>= 7
  } while (rest > 0)
  return Buffer.concat([Buffer.from(prefix), payload])
}
