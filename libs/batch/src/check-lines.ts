import {
  checkDeliverTargets,
  checkLine,
  isBatchUrl,
  type LineUrl,
  nestsTooDeeply,
  type PlatformConfig,
  type RequestBody,
  type RequestLine,
  salvageLine,
  tooDeepMessage,
} from '@sluice/contracts'
import { AppError, toAppError } from '@sluice/errors'
import type { BatchProblem } from './batch-row.ts'
import type { FileLine } from './file-lines.ts'
import { IdTable } from './id-table.ts'

/** A line that can run, `row` being its request where it has one; or why it cannot, and what its sender called it. */
export type CheckedLine =
  | { line: RequestLine; number: number; bytes: number; row?: string }
  | { problem: BatchProblem; customId: string; number: number; bytes: number }

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Checks the lines of one file, one after the other, and remembers what must agree between them. The same file gives
 * the same verdicts whenever it is read, so they need not be stored.
 */
export class LineChecker {
  readonly #platform: PlatformConfig
  readonly #tenant: string
  readonly #ids = new IdTable()
  /** The url of the file: that of its first good line. */
  endpoint: LineUrl | undefined

  constructor(platform: PlatformConfig, tenant: string) {
    this.#platform = platform
    this.#tenant = tenant
  }

  check(line: FileLine): CheckedLine {
    const { number } = line
    const bytes = line.bytes.byteLength
    try {
      return { line: this.#read(line), number, bytes }
    } catch (thrown) {
      const { code, message, param = null } = toAppError(thrown)
      // What has no id of its own is answered under the number of its line.
      const customId = salvageLine(line.bytes).custom_id ?? `line-${number}`
      return { problem: { code, message: `line ${number}: ${message}`, line: number, param }, customId, number, bytes }
    }
  }

  #read({ bytes, number, tooLong, ended }: FileLine): RequestLine {
    if (tooLong) {
      const most = this.#platform.batch.max_line_bytes
      throw new AppError('message_too_large', `longer than ${most} bytes`, { param: 'body' })
    }
    const line = checkLine(withFullUrl(parse(bytes, ended)))
    if (!isBatchUrl(line.url)) {
      throw new AppError('unsupported_url', `url: ${line.url} cannot be part of a batch`, { param: 'url' })
    }
    if (line.body !== undefined) checkBatchBody(line.body)
    const { tenant = this.#tenant, deliver } = line.sluice ?? {}
    if (tenant !== this.#tenant) {
      throw new AppError('tenant_not_allowed', 'sluice.tenant: not the tenant of the file', { param: 'sluice.tenant' })
    }
    checkDeliverTargets(this.#platform, this.#tenant, deliver)
    if (this.endpoint !== undefined && line.url !== this.endpoint) {
      const message = `url: ${line.url}, while the file began with ${this.endpoint}; a batch has one url`
      throw new AppError('invalid_line', message, { param: 'url' })
    }
    const first = this.#ids.add(line.custom_id, number)
    if (first !== undefined) {
      throw new AppError('invalid_line', `custom_id: line ${first} has the same one`, { param: 'custom_id' })
    }
    this.endpoint = line.url
    return line
  }
}

/**
 * A response is known to the resource that made it alone, and whose it is stands nowhere but in Sluice: a line that goes on
 * from one cannot be handed to whichever region has room.
 * @throws AppError `invalid_line`
 */
export function checkBatchBody({ previous_response_id: previous }: RequestBody): void {
  if (typeof previous !== 'string') return
  const message = 'body.previous_response_id: cannot be part of a batch'
  throw new AppError('invalid_line', message, { param: 'body.previous_response_id' })
}

function parse(bytes: Buffer, ended: boolean): unknown {
  let text: string
  try {
    text = utf8.decode(bytes)
  } catch (cause) {
    throw new AppError('invalid_json', 'The line is not valid UTF-8.', { cause })
  }
  if (nestsTooDeeply(text)) throw new AppError('invalid_json', tooDeepMessage)
  try {
    return JSON.parse(text)
  } catch (cause) {
    const where = ended ? '' : '; the file ends in this line, perhaps before its end'
    throw new AppError('invalid_json', `The line is not valid JSON${where}.`, { cause })
  }
}

/** Azure's batch files name an endpoint without its version, OpenAI's with it: both are read. */
function withFullUrl(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('url' in value) || typeof value.url !== 'string') return value
  const short = /^(?:\/openai)?(?:\/v1)?(\/(?:chat\/completions|responses|embeddings))$/.exec(value.url)?.[1]
  return short === undefined ? value : { ...value, url: `/v1${short}` }
}
