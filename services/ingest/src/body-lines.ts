import type { Readable } from 'node:stream'
import { AppError } from '@sluice/errors'

const newline = 0x0a

interface LineLimits {
  maxLineBytes: number
  maxBytes: number
  /** Makes room for what has come of a line, waiting if it must. @throws AppError when there is none */
  room: (lineBytes: number) => Promise<void> | undefined
}

/**
 * The lines of a body as they arrive, without their ends; empty ones are skipped. No more than one line and one chunk
 * is held.
 * @throws AppError `message_too_large` for a line over `maxLineBytes` or a body over `maxBytes`, or what `room` throws
 */
export async function* bodyLines(body: Readable, { maxLineBytes, maxBytes, room }: LineLimits): AsyncGenerator<Buffer> {
  let pieces: Buffer[] = []
  let held = 0
  let total = 0
  const hold = (piece: Buffer) => {
    held += piece.length
    if (held > maxLineBytes) throw tooLarge(`A line may have up to ${maxLineBytes} bytes.`)
    pieces.push(piece)
    return room(held)
  }
  const take = () => {
    const line = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces)
    pieces = []
    held = 0
    return line
  }
  // Destroying the body would take the connection with it, and the answer that says what is wrong.
  for await (const chunk of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    total += chunk.length
    if (total > maxBytes) throw tooLarge(`The lines together may have up to ${maxBytes} bytes.`)
    let from = 0
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, from)) {
      const made = hold(chunk.subarray(from, end))
      if (made !== undefined) await made
      from = end + 1
      const line = take()
      if (!isBlank(line)) yield line
    }
    const made = hold(chunk.subarray(from))
    if (made !== undefined) await made
  }
  const last = take()
  if (!isBlank(last)) yield last
}

const isBlank = (line: Buffer): boolean => line.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d)

const tooLarge = (message: string) => new AppError('message_too_large', message, { param: 'body' })
