import type { DeploymentUrl, Usage } from '@sluice/contracts'
import { readUsage } from '@sluice/models'

/** What the events so far amount to. */
export type StreamState =
  /** Nothing that a caller would call output: another deployment may still answer instead. */
  | 'preamble'
  | 'output'
  /** The upstream's own word that the answer is complete. */
  | 'finished'
  /** The upstream's own word that there will be none. */
  | 'failed'

const nothing = Buffer.alloc(0)
const usageField = Buffer.from('"usage":{')
const usageNull = Buffer.from(',"usage":null')
const doneMark = Buffer.from('[DONE]')
const errorField = Buffer.from('"error":{')
const responsesEnds = ['"response.completed"', '"response.incomplete"', '"response.failed"'].map((type) =>
  Buffer.from(type),
)
const soundEnds = ['"transcript.text.done"', '"speech.audio.done"'].map((type) => Buffer.from(type))

// Events that announce an answer without being any of it.
const responsesPreamble = new Set([
  'response.created',
  'response.queued',
  'response.in_progress',
  'response.output_item.added',
  'response.content_part.added',
  'response.reasoning_summary_part.added',
])

// Longer events than this are passed on in pieces; one that holds a whole long answer is still well below.
const maxEventBytes = 4 * 1024 * 1024

/**
 * Follows a stream of server-sent events and hands on its complete events, byte for byte.
 *
 * Once output has begun an event is not parsed: its bytes are searched for the few marks that matter, none of which can
 * stand unescaped inside a JSON string. Only an event with such a mark is looked at as JSON.
 */
export class ForwardStream {
  state: StreamState = 'preamble'
  usage: Usage | undefined
  /** The error object of the event that ended the stream. */
  failure: { code?: unknown; message?: unknown } | undefined
  /** Events handed on so far. */
  events = 0
  readonly #responses: boolean
  /** Marks of the last event of a stream that ends without `[DONE]`. */
  readonly #ends: readonly Buffer[]
  readonly #stripUsage: boolean
  #rest: Buffer = nothing

  /** @param stripUsage the caller did not ask for usage: what was added for the count is taken out again */
  constructor(url: DeploymentUrl, stripUsage: boolean) {
    this.#responses = url === '/v1/responses'
    this.#ends = this.#responses ? responsesEnds : url.startsWith('/v1/audio/') ? soundEnds : []
    this.#stripUsage = stripUsage
  }

  /** The last bytes of a stream that ended without an empty line. */
  flush(): Buffer {
    const rest = this.#rest
    this.#rest = nothing
    return rest.length === 0 ? nothing : this.#eachEvent(rest)
  }

  /** @returns the events that are complete now, often the very buffer that came in; empty when none is */
  push(chunk: Buffer): Buffer {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const end = endOfEvents(bytes)
    if (end === 0 && bytes.length <= maxEventBytes) {
      this.#rest = bytes
      return nothing
    }
    this.#rest = end === 0 || end === bytes.length ? nothing : bytes.subarray(end)
    const complete = end === 0 || end === bytes.length ? bytes : bytes.subarray(0, end)
    return this.#plain(complete) ? complete : this.#eachEvent(complete)
  }

  // Blanks in the place of `,"usage":null` leave the JSON as it is and need no copy.
  #plain(bytes: Buffer): boolean {
    if (this.state !== 'output') return false
    if (bytes.includes(usageField) || bytes.includes(errorField) || bytes.includes(doneMark)) return false
    if (this.#ends.some((mark) => bytes.includes(mark))) return false
    if (this.#stripUsage && !this.#responses) blankOut(bytes)
    this.events++
    return true
  }

  #eachEvent(bytes: Buffer): Buffer {
    const kept: Buffer[] = []
    for (const event of splitEvents(bytes)) {
      if (this.#stripUsage && !this.#responses) blankOut(event)
      if (this.#readEvent(event)) kept.push(event)
    }
    this.events += kept.length
    return kept.length === 1 ? (kept[0] as Buffer) : Buffer.concat(kept)
  }

  /** @returns whether the event is the caller's business */
  #readEvent(event: Buffer): boolean {
    const data = dataOf(event)
    if (data === undefined) return true
    if (data === '[DONE]') {
      this.state = 'finished'
      return true
    }
    const value = parse(data)
    if (value === undefined) return true
    const error = this.#responses && value.type === 'response.failed' ? objectOf(value.response).error : value.error
    if (value.type === 'error' || isObject(error)) {
      this.failure = isObject(error) ? error : value
      this.state = 'failed'
      return true
    }
    return this.#responses ? this.#readResponses(value) : this.#readOther(value)
  }

  #readOther(value: Json): boolean {
    const choices = Array.isArray(value.choices) ? (value.choices as unknown[]) : undefined
    if (isObject(value.usage)) {
      this.usage = readUsage(value)
      // The event that carries the usage alone has no choices: it is there because it was asked for.
      if (choices?.length === 0 && this.#stripUsage) return false
    }
    if (value.type === 'transcript.text.done' || value.type === 'speech.audio.done') this.state = 'finished'
    else if (this.state === 'preamble' && (choices === undefined || choices.some(isOutput))) this.state = 'output'
    return true
  }

  #readResponses(value: Json): boolean {
    const type = typeof value.type === 'string' ? value.type : ''
    if (type === 'response.completed' || type === 'response.incomplete') {
      this.usage = readUsage(value.response)
      this.state = 'finished'
    } else if (this.state === 'preamble' && !responsesPreamble.has(type)) this.state = 'output'
    return true
  }
}

type Json = Record<string, unknown>
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null
const objectOf = (value: unknown): Json => (isObject(value) ? value : {})

/** A choice that says more than who is going to speak. */
function isOutput(choice: unknown): boolean {
  const { delta, finish_reason: reason } = objectOf(choice)
  if (reason !== null && reason !== undefined) return true
  if (!isObject(delta)) return choice !== null && !('delta' in objectOf(choice))
  return Object.entries(delta).some(([name, value]) => name !== 'role' && value !== null && value !== '')
}

function blankOut(bytes: Buffer): void {
  for (let at = bytes.indexOf(usageNull); at >= 0; at = bytes.indexOf(usageNull, at)) {
    bytes.fill(0x20, at, at + usageNull.length)
  }
}

/** Where the last complete event ends. An event ends with an empty line; lines end with LF or CRLF. */
function endOfEvents(bytes: Buffer): number {
  const size = bytes.length
  if (size >= 2 && bytes[size - 1] === 0x0a && (bytes[size - 2] === 0x0a || isEmptyCrlf(bytes, size))) return size
  return Math.max(after(bytes, '\n\n'), after(bytes, '\r\n\r\n'))
}

const isEmptyCrlf = (bytes: Buffer, end: number): boolean =>
  end >= 4 && bytes[end - 2] === 0x0d && bytes[end - 3] === 0x0a

function after(bytes: Buffer, mark: string): number {
  const at = bytes.lastIndexOf(mark)
  return at < 0 ? 0 : at + mark.length
}

function* splitEvents(bytes: Buffer): Generator<Buffer> {
  let start = 0
  while (start < bytes.length) {
    const lf = bytes.indexOf('\n\n', start)
    const crlf = bytes.indexOf('\r\n\r\n', start)
    const ends = [lf < 0 ? -1 : lf + 2, crlf < 0 ? -1 : crlf + 4].filter((end) => end > 0)
    const end = ends.length === 0 ? bytes.length : Math.min(...ends)
    yield bytes.subarray(start, end)
    start = end
  }
}

/** An event's data lines as one text; undefined for a comment. */
function dataOf(event: Buffer): string | undefined {
  const lines = event.toString('utf8').split(/\r?\n/)
  const data = lines.filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trimStart())
  return data.length === 0 ? undefined : data.join('\n')
}

function parse(data: string): Json | undefined {
  try {
    const value = JSON.parse(data) as unknown
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}
