import { MessageType, NullLogger } from '@microsoft/signalr'
import { describe, expect, it } from 'vitest'

import { closeFrame, invocationFrame, pingFrame, protocols } from './hub-message.ts'
import type { HubFrame, ProtocolName } from './hub-message.ts'

/** As a client reads it. */
const read = (name: ProtocolName, frame: HubFrame) => {
  const bytes = frame[name]
  const input = name === 'json' ? bytes.toString() : new Uint8Array(bytes).buffer
  return protocols[name].parseMessages(input, NullLogger.instance)
}

describe.each(['json', 'messagepack'] as const)('%s', (name) => {
  it('writes invocations and pings', () => {
    const args = [1, 'x', null, { a: [true] }]
    expect(read(name, invocationFrame('event', args))).toMatchObject([
      { type: MessageType.Invocation, target: 'event', arguments: args },
    ])
    expect(read(name, pingFrame)).toMatchObject([{ type: MessageType.Ping }])
  })

  it.each([
    ['', true],
    ['moved away', false],
    ['ünïcode 💥', true],
    ['x'.repeat(4096), true],
  ])('writes a Close with the error %j', (error, allowReconnect) => {
    expect(read(name, closeFrame(error, allowReconnect))).toMatchObject([
      { type: MessageType.Close, error, allowReconnect },
    ])
  })

  it('writes a Close without an error', () => {
    const [message] = read(name, closeFrame(undefined, true))
    expect(message).toMatchObject({ type: MessageType.Close, allowReconnect: true })
    expect((message as { error?: unknown }).error ?? undefined).toBeUndefined()
  })
})

it('encodes a message once for all connections of a protocol', () => {
  const frame = invocationFrame('event', [])
  expect(frame.json).toBe(frame.json)
  expect(frame.messagepack).toBe(frame.messagepack)
})
