import type { LineUrl, RequestBody } from '@sluice/contracts'
import { fileLines } from './file-lines.ts'

// A part's lines are kept in one form, whose beginning is known to the byte: the place in the input as custom id, then
// the model as the first field of the body. So the region's model is put in without parsing a line again.
const beforeId = '{"custom_id":"'
const noModel = Buffer.from('"model":"@"')
const wholeLine = Number.POSITIVE_INFINITY

/** A line as it is kept in a part's blob, with its line break. @param index its place in the input, from 0 */
export function partLine(index: number, url: LineUrl, body: RequestBody): string {
  // A batch is answered as a whole: there is nobody to stream to.
  const { model: _, stream: _stream, stream_options: _options, ...fields } = body
  const rest = JSON.stringify(fields)
  const tail = rest === '{}' ? '}' : `,${rest.slice(1)}`
  return `${beforeId}${index}","method":"POST","url":"${shortUrl(url)}","body":{"model":"@"${tail}}\n`
}

/** The url as batch files name it, without its version. */
export const shortUrl = (url: LineUrl): string => url.slice('/v1'.length)

/** A part's lines for a deployment of that name, in chunks of about 64 KiB. */
export async function* linesFor(model: string, part: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const named = Buffer.from(`"model":${JSON.stringify(model)}`)
  const lineBreak = Buffer.from('\n')
  let chunks: Buffer[] = []
  let held = 0
  for await (const { bytes } of fileLines(part, wholeLine)) {
    const at = bytes.indexOf(noModel)
    chunks.push(bytes.subarray(0, at), named, bytes.subarray(at + noModel.length), lineBreak)
    held += bytes.length + named.length
    if (held < 65_536) continue
    yield Buffer.concat(chunks)
    chunks = []
    held = 0
  }
  if (held > 0) yield Buffer.concat(chunks)
}

/** A part's lines with their places in the input. */
export async function* indexedLines(part: AsyncIterable<Uint8Array>): AsyncGenerator<{ index: number; bytes: Buffer }> {
  for await (const { bytes } of fileLines(part, wholeLine)) {
    const end = bytes.indexOf('"', beforeId.length)
    yield { index: Number(bytes.toString('latin1', beforeId.length, end)), bytes }
  }
}

/** The body of a part's line, without a model. */
export function bodyOf(bytes: Buffer): Record<string, unknown> {
  const { body } = JSON.parse(bytes.toString('utf8')) as { body: Record<string, unknown> }
  const { model: _, ...fields } = body
  return fields
}
