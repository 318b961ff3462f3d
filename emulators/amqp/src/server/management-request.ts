import rhea from 'rhea'
import { AmqpDecodeError } from '../amqp/decode-error.ts'
import { findSections } from '../amqp/message-sections.ts'
import { mapEntries, readValue, type AmqpValue } from '../amqp/read-value.ts'
import { compoundHead, skipValue } from '../amqp/skip-value.ts'
import type { BrokerError } from '../broker-error.ts'
import { amqpTypes } from './rhea-internals.ts'

/** A request on a $management or $cbs node. */
export class ManagementRequest {
  readonly properties: Record<string, AmqpValue>
  readonly replyTo: string | undefined
  /** In the form rhea encodes with the type it came in. */
  readonly messageId: unknown
  readonly #bytes: Buffer
  readonly #entries = new Map<string, { value: number; end: number }>()
  readonly #body: number

  /** @throws AmqpDecodeError when the bytes are not a message */
  constructor(bytes: Buffer) {
    this.#bytes = bytes
    const sections = findSections(bytes)
    this.#body = sections.body[0] ?? -1
    const properties = sections.applicationProperties < 0 ? {} : readValue(bytes, sections.applicationProperties)
    this.properties = properties as Record<string, AmqpValue>
    const { messageId, replyTo } = readIdentity(bytes, sections.properties)
    this.messageId = messageId
    this.replyTo = replyTo
    const code = this.#body < 0 ? 0 : bytes[this.#body]
    if (sections.bodyCode !== 0x77 || (code !== 0xc1 && code !== 0xd1)) return
    for (const { key, value, end } of mapEntries(bytes, this.#body)) this.#entries.set(key, { value, end })
  }

  get operation(): string {
    return this.text('operation') ?? ''
  }

  /** An application property, when it is a text. */
  text(name: string): string | undefined {
    const value = this.properties[name]
    return typeof value === 'string' ? value : undefined
  }

  /** The whole body, when it is a value. */
  get body(): AmqpValue {
    return this.#body < 0 ? null : readValue(this.#bytes, this.#body)
  }

  /** A field of the body's map. */
  field(name: string): AmqpValue {
    const entry = this.#entries.get(name)
    return entry === undefined ? null : readValue(this.#bytes, entry.value)
  }

  /** The entries of a map inside the body, in their encodings. */
  encodedEntries(name: string): Map<string, Buffer> {
    const entry = this.#entries.get(name)
    const found = new Map<string, Buffer>()
    if (entry === undefined || this.#bytes[entry.value] === 0x40) return found
    for (const { key, value, end } of mapEntries(this.#bytes, entry.value))
      found.set(key, Buffer.from(this.#bytes.subarray(value, end)))
    return found
  }
}

const readIdentity = (bytes: Buffer, at: number): { messageId: unknown; replyTo: string | undefined } => {
  if (at < 0) return { messageId: undefined, replyTo: undefined }
  const { count, first } = compoundHead(bytes, at)
  let messageId: unknown
  let replyTo: string | undefined
  for (let index = 0, position = first; index < count && index <= 4; index++, position = skipValue(bytes, position)) {
    const value = readValue(bytes, position)
    if (index === 0)
      messageId = bytes[position] === 0x98 ? Buffer.from(bytes.subarray(position + 1, position + 17)) : value
    if (index === 4 && typeof value === 'string') replyTo = value
  }
  if (typeof messageId === 'bigint') throw new AmqpDecodeError('message-id beyond 2^53')
  return { messageId: messageId ?? undefined, replyTo }
}

/** The answer to a request: an AMQP status code as HTTP has them, and a body. */
export type ManagementResponse = {
  status: number
  description?: string
  condition?: string
  body?: unknown
  properties?: Record<string, unknown>
}

/** The clients look for the status under either spelling, so both are sent. */
export const encodeResponse = (
  messageId: unknown,
  { status, description = '', condition, body, properties }: ManagementResponse,
): Buffer =>
  rhea.message.encode({
    correlation_id: messageId,
    application_properties: {
      statusCode: amqpTypes.wrap_int(status),
      'status-code': amqpTypes.wrap_int(status),
      statusDescription: description,
      'status-description': description,
      ...(condition === undefined
        ? {}
        : { errorCondition: amqpTypes.wrap_symbol(condition), 'error-condition': amqpTypes.wrap_symbol(condition) }),
      ...properties,
    },
    body: body ?? {},
  })

const statuses: Record<string, number> = {
  'amqp:not-found': 404,
  'com.microsoft:message-not-found': 404,
  'com.microsoft:message-lock-lost': 410,
  'com.microsoft:session-lock-lost': 410,
  'com.microsoft:session-cannot-be-locked': 410,
  'amqp:unauthorized-access': 401,
  'com.microsoft:entity-already-exists': 409,
  'com.microsoft:server-busy': 503,
  'amqp:resource-limit-exceeded': 403,
  'amqp:link:message-size-exceeded': 403,
  'com.microsoft:timeout': 408,
  'amqp:not-implemented': 501,
  'amqp:internal-error': 500,
}

export const errorResponse = (error: BrokerError): ManagementResponse => ({
  status: statuses[error.condition] ?? 400,
  description: error.message,
  condition: error.condition,
})
