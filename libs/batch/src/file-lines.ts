/** One line of a JSONL file: its number from 1, and its bytes without the line break. */
export interface FileLine {
  number: number
  bytes: Buffer
  /** Larger than `maxLineBytes`: the bytes are the line's beginning only. */
  tooLong: boolean
  /** False for a last line without a line break, which may be half of one. */
  ended: boolean
}

const lineFeed = 0x0a
const carriageReturn = 0x0d
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])

/**
 * The non-empty lines of a file, streamed: at most one line and one chunk are in memory. CRLF, a byte order mark and a
 * last line without a break are fine.
 */
export async function* fileLines(file: AsyncIterable<Uint8Array>, maxLineBytes: number): AsyncGenerator<FileLine> {
  let number = 0
  let parts: Buffer[] = []
  let kept = 0
  let tooLong = false

  const take = (part: Buffer) => {
    const room = maxLineBytes - kept
    if (part.length > room) tooLong = true
    const fitting = part.subarray(0, Math.max(0, room))
    if (fitting.length > 0) parts.push(fitting)
    kept += fitting.length
  }
  const finish = (ended: boolean): FileLine | undefined => {
    number++
    let bytes = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
    if (number === 1 && bytes.subarray(0, 3).equals(byteOrderMark)) bytes = bytes.subarray(3)
    if (bytes.at(-1) === carriageReturn) bytes = bytes.subarray(0, -1)
    const line = { number, bytes, tooLong, ended }
    parts = []
    kept = 0
    tooLong = false
    return bytes.length === 0 && !line.tooLong ? undefined : line
  }

  for await (const chunk of file) {
    let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    for (let at = rest.indexOf(lineFeed); at >= 0; at = rest.indexOf(lineFeed)) {
      take(rest.subarray(0, at))
      rest = rest.subarray(at + 1)
      const line = finish(true)
      if (line !== undefined) yield line
    }
    take(rest)
  }
  if (kept > 0 || tooLong) {
    const line = finish(false)
    if (line !== undefined) yield line
  }
}
