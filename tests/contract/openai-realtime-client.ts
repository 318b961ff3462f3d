import { request } from 'node:http'
import { eventually } from './openai-twin.ts'

export type Event = Record<string, unknown> & { type: string }

/** A plain client of the protocol that keeps what it receives. */
export class RealtimeClient {
  readonly events: Event[] = []
  readonly socket: WebSocket
  closed = false

  constructor(url: string, headers: Record<string, string>, protocols: string[] = []) {
    this.socket = new WebSocket(url, { headers, protocols })
    this.socket.addEventListener('message', ({ data }) => this.events.push(JSON.parse(String(data)) as Event))
    this.socket.addEventListener('close', () => (this.closed = true))
    this.socket.addEventListener('error', () => (this.closed = true))
  }

  send(event: object | string): void {
    this.socket.send(typeof event === 'string' ? event : JSON.stringify(event))
  }

  /** The first event of a type from an index on, once it is there. */
  async next(type: string, from = 0): Promise<Event> {
    await eventually(
      () => this.events,
      (events) => events.slice(from).some((event) => event.type === type),
    )
    const found = this.events.slice(from).find((event) => event.type === type)
    if (!found) throw new Error(`no ${type}`)
    return found
  }

  text(type: string): string {
    return this.events
      .filter((event) => event.type === type)
      .map((event) => String(event['delta']))
      .join('')
  }
}

export const userSays = (text: string) => ({
  type: 'conversation.item.create',
  item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
})
export const textOnly = { type: 'session.update', session: { type: 'realtime', output_modalities: ['text'] } }
export const loud = (ms: number): Buffer => Buffer.alloc(ms * 48, Buffer.from([0x00, 0x20, 0x00, 0xe0]))
export const append = (audio: Buffer) => ({ type: 'input_audio_buffer.append', audio: audio.toString('base64') })

/** The status that a handshake is refused with; undefined when the connection is cut instead. */
export const statusOfHandshake = (url: string, headers: Record<string, string>): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    const handshake = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    }
    const call = request(url, { headers: { ...headers, ...handshake } })
    call.on('response', (response) => {
      resolve(response.statusCode)
      response.resume()
    })
    call.on('upgrade', (_response, socket) => {
      socket.destroy()
      reject(new Error('the handshake succeeded'))
    })
    call.on('error', () => resolve(undefined))
    call.end()
  })
