import { AppError } from '@sluice/errors'

const maxHeaderBytes = 16 * 1024
const maxFieldBytes = 64 * 1024
const maxParts = 64
const endOfHeaders = Buffer.from('\r\n\r\n')

/**
 * Passes a multipart body on while it arrives, without the parts in `dropped`, and remembers the small fields of all.
 * It holds at most a delimiter's length of a part's content back.
 * https://www.rfc-editor.org/rfc/rfc7578, https://www.rfc-editor.org/rfc/rfc2046#section-5.1
 */
export class MultipartFilter {
  /** Contents of the fields that have ended; files are not among them. */
  readonly fields = new Map<string, string>()
  readonly #dropped: ReadonlySet<string>
  readonly #delimiter: Buffer
  readonly #dash: string
  // The first delimiter has no line break in front of it; lending it one makes all delimiters alike.
  #rest: Buffer = Buffer.from('\r\n')
  #state: 'preamble' | 'after delimiter' | 'headers' | 'content' | 'over' = 'preamble'
  #parts = 0
  #kept = false
  #field: { name: string; bytes: Buffer[]; size: number } | undefined

  constructor(boundary: string, dropped: readonly string[]) {
    this.#dropped = new Set(dropped)
    this.#dash = `--${boundary}`
    this.#delimiter = Buffer.from(`\r\n${this.#dash}`)
  }

  get ended(): boolean {
    return this.#state === 'over'
  }

  /** A part of one's own, to go in front of the others. */
  part(name: string, value: string): Buffer {
    return Buffer.from(`${this.#dash}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}`)
  }

  /** @returns what may be passed on now. @throws AppError `invalid_line` for what is no multipart body */
  push(chunk: Buffer): Buffer[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const out: Buffer[] = []
    while (this.#step(out));
    return out
  }

  /** @returns whether it is worth going on with what is there */
  #step(out: Buffer[]): boolean {
    switch (this.#state) {
      case 'preamble':
        return this.#content()
      case 'content':
        return this.#content(out)
      case 'after delimiter':
        return this.#afterDelimiter(out)
      case 'headers':
        return this.#headers(out)
      case 'over':
        this.#rest = Buffer.alloc(0)
        return false
    }
  }

  #content(out?: Buffer[]): boolean {
    const at = this.#rest.indexOf(this.#delimiter)
    const end = at < 0 ? Math.max(0, this.#rest.length - this.#delimiter.length + 1) : at
    const content = this.#rest.subarray(0, end)
    if (out !== undefined && content.length > 0) {
      if (this.#kept) out.push(content)
      this.#remember(content)
    }
    if (at < 0) {
      this.#rest = this.#rest.subarray(end)
      return false
    }
    if (this.#field !== undefined) {
      this.fields.set(this.#field.name, Buffer.concat(this.#field.bytes).toString('utf8'))
      this.#field = undefined
    }
    this.#rest = this.#rest.subarray(at + this.#delimiter.length)
    this.#state = 'after delimiter'
    return true
  }

  #afterDelimiter(out: Buffer[]): boolean {
    // Spaces may pad a delimiter's line.
    let at = 0
    while (this.#rest[at] === 0x20 || this.#rest[at] === 0x09) at++
    if (at > maxHeaderBytes) throw malformed('a delimiter does not end')
    if (this.#rest.length < at + 2) return false
    const mark = this.#rest.toString('latin1', at, at + 2)
    if (mark === '--') {
      out.push(Buffer.from(`\r\n${this.#dash}--\r\n`))
      this.#state = 'over'
    } else if (mark === '\r\n') this.#state = 'headers'
    else throw malformed('a delimiter is followed by something else')
    // The line break stays: a part without headers has its empty line at once.
    this.#rest = this.#rest.subarray(at)
    return true
  }

  #headers(out: Buffer[]): boolean {
    const end = this.#rest.indexOf(endOfHeaders)
    if (end > maxHeaderBytes || (end < 0 && this.#rest.length > maxHeaderBytes)) throw malformed('headers are too long')
    if (end < 0) return false
    if (++this.#parts > maxParts) throw malformed(`more than ${maxParts} parts`)
    const head = this.#rest.subarray(0, end + endOfHeaders.length)
    const { name, isFile } = disposition(head.toString('utf8'))
    this.#kept = !this.#dropped.has(name)
    if (this.#kept) out.push(this.#delimiter, head)
    this.#field = isFile ? undefined : { name, bytes: [], size: 0 }
    this.#rest = this.#rest.subarray(head.length)
    this.#state = 'content'
    return true
  }

  #remember(content: Buffer): void {
    if (this.#field === undefined) return
    this.#field.size += content.length
    if (this.#field.size > maxFieldBytes) throw malformed(`${this.#field.name} is too long`)
    this.#field.bytes.push(content)
  }
}

// One parameter of a header, quoted or not.
const parameter = /\s*;\s*([\w!#$&+.^`|~*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))\s*/y

/**
 * The field that a part is. A head that two readers could understand in two ways is refused: the one that reads next
 * might find a second `model` where this one found none.
 */
function disposition(head: string): { name: string; isFile: boolean } {
  const lines = [...head.matchAll(/^content-disposition:\s*form-data([^\r\n]*)/gim)]
  const line = lines[0]?.[1] ?? ''
  if (lines.length > 1) throw malformed('a part has two dispositions')
  const found = new Map<string, string>()
  let end = 0
  for (parameter.lastIndex = 0; end < line.trimEnd().length; end = parameter.lastIndex) {
    const match = parameter.exec(line)
    const key = match?.[1]?.toLowerCase()
    if (key === undefined || found.has(key)) throw malformed('a part has a disposition that cannot be read')
    found.set(key, match?.[2] ?? match?.[3] ?? '')
  }
  const name = found.get('name')
  if (name === undefined || found.has('name*')) throw malformed('a part has no name')
  return { name, isFile: found.has('filename') || found.has('filename*') }
}

/** @throws AppError `unsupported_media_type` for anything but multipart/form-data with a boundary */
export function boundaryOf(contentType: string | undefined): string {
  const match = /^multipart\/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))/i.exec(
    contentType ?? '',
  )
  const boundary = match?.[1] ?? match?.[2]
  if (boundary !== undefined) return boundary
  throw new AppError('unsupported_media_type', 'Send multipart/form-data with a boundary.', { param: 'Content-Type' })
}

export const malformed = (what: string) =>
  new AppError('invalid_line', `The multipart body is malformed: ${what}.`, { param: 'body' })
