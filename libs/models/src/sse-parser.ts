import { StringDecoder } from 'node:string_decoder'

// One event holds at most one answer; an endless one must not fill the memory.
const maxEventChars = 64 * 1024 * 1024

/** Cuts a stream of server-sent events into the JSON values of their data. https://html.spec.whatwg.org/#server-sent-events */
export class SseParser {
  /** The provider's `[DONE]` was seen. */
  done = false
  readonly #decoder = new StringDecoder('utf8')
  #rest = ''

  /** @returns the events that this chunk completes. @throws SyntaxError for data that is not JSON, or without end */
  push(chunk: Buffer): unknown[] {
    this.#rest += this.#decoder.write(chunk)
    if (this.#rest.length > maxEventChars) throw new SyntaxError('an event without end')
    const events = this.#rest.split(/\r\n\r\n|\n\n|\r\r/)
    this.#rest = events.pop() ?? ''
    return events.flatMap((event) => this.#read(event))
  }

  /** The last event of a stream that ended without an empty line. */
  flush(): unknown[] {
    const last = this.#rest + this.#decoder.end()
    this.#rest = ''
    return this.#read(last)
  }

  #read(event: string): unknown[] {
    const data = event
      .split(/\r\n|\n|\r/)
      .filter((line) => line.startsWith('data:'))
      .map((line) => line.slice(line[5] === ' ' ? 6 : 5))
      .join('\n')
    if (data === '') return []
    if (data === '[DONE]') {
      this.done = true
      return []
    }
    return [JSON.parse(data)]
  }
}
