import type { ServerResponse } from 'node:http'

// Above it copying costs more than a second piece in one system call.
const copiedBytes = 12 * 1024

/**
 * Writes an answer in as few pieces as it can. Node hands a head and a body, and the four parts of each chunk of a
 * stream, to the kernel as lists; one text in latin1, which is bytes, is cheaper to pass on than any list.
 */
export class AnswerBytes {
  readonly #response: ServerResponse
  #framed = false

  constructor(response: ServerResponse) {
    this.#response = response
  }

  head(status: number, headers: string[]): void {
    this.#response.writeHead(status, headers)
    // Node chose so for a caller that understands it; the frames are written here.
    this.#framed = this.#response.chunkedEncoding
    this.#response.chunkedEncoding = false
  }

  /** @returns whether there is room for more */
  write(chunk: Buffer): boolean {
    if (chunk.length <= copiedBytes) return this.#response.write(this.#text(chunk), 'latin1')
    if (!this.#framed) return this.#response.write(chunk)
    this.#response.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
    this.#response.write(chunk)
    return this.#response.write('\r\n', 'latin1')
  }

  end(last?: Buffer): void {
    if (last !== undefined && last.length > copiedBytes) {
      this.write(last)
      this.end()
      return
    }
    const text = (last === undefined ? '' : this.#text(last)) + (this.#framed ? '0\r\n\r\n' : '')
    if (text === '') this.#response.end()
    else this.#response.end(text, 'latin1')
  }

  #text(chunk: Buffer): string {
    const bytes = chunk.toString('latin1')
    // An empty frame would end the answer.
    return this.#framed && chunk.length > 0 ? `${chunk.length.toString(16)}\r\n${bytes}\r\n` : bytes
  }
}
