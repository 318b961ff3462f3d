import type { IncomingMessage } from 'node:http'
import { invalidRequest, unsupportedMediaType } from '../http/azure-error.ts'
import { ExchangeClosed } from '../http/exchange.ts'

/** One part of a multipart body. Its content must be read, or drained, before the next part can be. */
export interface Part {
  name: string
  filename: string | undefined
  contentType: string | undefined
  content: AsyncGenerator<Buffer, void, undefined>
}

const maxHeaderBytes = 16 * 1024
const maxFieldBytes = 64 * 1024
const malformed = (why: string): Error => invalidRequest(`Could not parse the multipart form: ${why}.`)

const parameter = (header: string, name: string): string | undefined =>
  new RegExp(`;\\s*${name}="((?:[^"\\\\]|\\\\.)*)"`, 'i').exec(header)?.[1]?.replaceAll(/\\(.)/g, '$1')

/** Reads a request's multipart body without ever holding more of it than a chunk and a boundary. */
class MultipartReader {
  readonly #source: AsyncIterator<Buffer>
  readonly #delimiter: Buffer
  // The body starts as if a line break came before it, so that the first boundary looks like all others.
  #pending: Buffer = Buffer.from('\r\n')

  constructor(req: IncomingMessage, boundary: string) {
    // Not destroyed with the iterator: a refused upload is answered on the connection that still carries its rest.
    this.#source = req.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>
    this.#delimiter = Buffer.from(`\r\n--${boundary}`)
  }

  /** Lets go of the request, so that what is left of it can be drained. */
  async release(): Promise<void> {
    await this.#source.return?.()
  }

  async *parts(): AsyncGenerator<Part, void, undefined> {
    for await (const _ of this.#untilDelimiter()) {
      // What comes before the first boundary is to be ignored.
    }
    while (!(await this.#atEnd())) {
      const part = this.#part(await this.#headers())
      yield part
      // A consumer that left content unread does not keep the next part from being found.
      for await (const _ of part.content);
    }
  }

  #part(headers: string): Part {
    const line = (name: string): string | undefined => new RegExp(`^${name}:\\s*(.*)$`, 'im').exec(headers)?.[1]?.trim()
    const disposition = line('content-disposition') ?? ''
    const name = parameter(disposition, 'name')
    if (name === undefined) throw malformed('a part has no name')
    return {
      name,
      filename: parameter(disposition, 'filename'),
      contentType: line('content-type'),
      content: this.#untilDelimiter(),
    }
  }

  async #fill(): Promise<void> {
    const next = await this.#source.next()
    if (next.done === true) throw malformed('it ends before its closing boundary')
    this.#pending = this.#pending.byteLength === 0 ? next.value : Buffer.concat([this.#pending, next.value])
  }

  async *#untilDelimiter(): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      const at = this.#pending.indexOf(this.#delimiter)
      if (at >= 0) {
        const before = this.#pending.subarray(0, at)
        this.#pending = this.#pending.subarray(at + this.#delimiter.byteLength)
        if (before.byteLength > 0) yield before
        return
      }
      const safe = this.#pending.byteLength - this.#delimiter.byteLength
      if (safe > 0) {
        const part = this.#pending.subarray(0, safe)
        this.#pending = this.#pending.subarray(safe)
        yield part
      }
      await this.#fill()
    }
  }

  async #atEnd(): Promise<boolean> {
    while (this.#pending.byteLength < 2) await this.#fill()
    const mark = this.#pending.subarray(0, 2).toString('latin1')
    if (mark !== '--' && mark !== '\r\n') throw malformed('a boundary is followed by something else')
    return mark === '--'
  }

  async #headers(): Promise<string> {
    for (;;) {
      const end = this.#pending.indexOf('\r\n\r\n')
      if (end >= 0) {
        const headers = this.#pending.subarray(2, end).toString('utf8')
        this.#pending = this.#pending.subarray(end + 4)
        return headers
      }
      if (this.#pending.byteLength > maxHeaderBytes) throw malformed('the headers of a part are too long')
      await this.#fill()
    }
  }
}

/**
 * Reads a form: text fields into a record, the one file part through `onFile` as it arrives.
 * @throws AzureError 400 or 415 for what is no form; ExchangeClosed when the client leaves.
 */
export async function readForm<T>(
  req: IncomingMessage,
  onFile: (part: Part) => Promise<T>,
): Promise<{ fields: Map<string, string>; file: T | undefined }> {
  const boundary = /^multipart\/form-data;.*boundary="?([^";]{1,200})"?/i.exec(req.headers['content-type'] ?? '')?.[1]
  if (boundary === undefined) throw unsupportedMediaType('multipart/form-data')
  const fields = new Map<string, string>()
  let file: T | undefined
  const reader = new MultipartReader(req, boundary)
  try {
    for await (const part of reader.parts()) {
      if (part.filename !== undefined && file === undefined) {
        file = await onFile(part)
        continue
      }
      const chunks: Buffer[] = []
      let size = 0
      for await (const chunk of part.content) {
        size += chunk.byteLength
        if (size > maxFieldBytes) throw malformed(`the field ${part.name} is too long`)
        chunks.push(chunk)
      }
      fields.set(part.name, Buffer.concat(chunks).toString('utf8'))
    }
  } catch (error) {
    // A request that broke off rejects with ECONNRESET from inside the iteration.
    if (req.destroyed && !req.complete) throw new ExchangeClosed()
    throw error
  } finally {
    await reader.release()
  }
  return { fields, file }
}
