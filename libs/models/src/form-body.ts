import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'

/** The file of a multipart call. Neither text holds a control character. */
export interface Upload {
  filename: string
  contentType: string
  /** Its bytes from the beginning: a call that is made again sends them again. */
  open(signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>
}

/**
 * A multipart body of the fields and the file, which is passed on as it is read. Lists and objects are spelled as the
 * openai SDKs spell them: `name[]`, `name[key]`. https://www.rfc-editor.org/rfc/rfc7578
 */
export function formBody(
  fields: Readonly<Record<string, unknown>>,
  { filename, contentType }: Upload,
  file: AsyncIterable<Uint8Array>,
): { contentType: string; body: Readable } {
  const boundary = `sluice-${randomUUID()}`
  const part = (name: string, more = '') =>
    `--${boundary}\r\nContent-Disposition: form-data; name="${quoted(name)}"${more}\r\n`
  const texts = Object.entries(fields).flatMap(([name, value]) => entries(name, value))
  const head = [
    ...texts.map(([name, value]) => `${part(name)}\r\n${value}\r\n`),
    `${part('file', `; filename="${quoted(filename)}"`)}Content-Type: ${contentType}\r\n\r\n`,
  ].join('')
  const bytes = async function* () {
    yield Buffer.from(head)
    yield* file
    yield Buffer.from(`\r\n--${boundary}--\r\n`)
  }
  return {
    contentType: `multipart/form-data; boundary=${boundary}`,
    body: Readable.from(bytes(), { objectMode: false }),
  }
}

function entries(name: string, value: unknown): [name: string, value: string][] {
  if (value === undefined || value === null) return []
  if (Array.isArray(value)) return value.flatMap((item) => entries(`${name}[]`, item))
  if (typeof value === 'string') return [[name, value]]
  if (typeof value !== 'object') return [[name, JSON.stringify(value)]]
  return Object.entries(value).flatMap(([key, item]) => entries(`${name}[${key}]`, item))
}

// As browsers escape names. https://html.spec.whatwg.org/#multipart-form-data
const quoted = (text: string): string => text.replaceAll('\r', '%0D').replaceAll('\n', '%0A').replaceAll('"', '%22')
