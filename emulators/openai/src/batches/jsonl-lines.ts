/** A line of a file and where the next one starts, in bytes. */
export interface JsonLine {
  text: string
  end: number
}

const newline = 10
const maxLineBytes = 32 * 1024 * 1024

/**
 * The lines of a stream of bytes, from an offset on. A last line without a line break counts; a line over 32 MiB is
 * cut there, so that a file without line breaks cannot fill the memory.
 */
export async function* jsonLines(content: AsyncIterable<Buffer>, from = 0): AsyncGenerator<JsonLine, void, undefined> {
  let pending: Buffer[] = []
  let size = 0
  let position = from
  const take = (last: Buffer): string => {
    pending.push(last)
    const text = Buffer.concat(pending).toString('utf8')
    pending = []
    size = 0
    return text.endsWith('\r') ? text.slice(0, -1) : text
  }
  for await (const chunk of content) {
    let start = 0
    for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, start)) {
      position += size + at - start + 1
      const text = take(chunk.subarray(start, at))
      start = at + 1
      yield { text, end: position }
    }
    const rest = chunk.subarray(start)
    if (size + rest.byteLength <= maxLineBytes) pending.push(rest)
    size += rest.byteLength
  }
  if (size > 0) yield { text: take(Buffer.alloc(0)), end: position + size }
}
